"""Files beside a package file that a bundle has in its manifest: the detached signature, and the
provenance (PEP 740)."""

import os

from appliance.errors import PyindexError
from appliance.incoming.beneath import open_beneath
from appliance.incoming.directory import PackagesDirectory
from appliance.index.names import PROVENANCE, SIGNATURE

LARGEST = {SIGNATURE: 64 * 1024, PROVENANCE: 1024 * 1024}
"""Limits in bytes, by ending."""


def read(directory: PackagesDirectory, path: str, ending: str) -> bytes | None:
    """Return the content of the companion with this ending of the package file at ``path``;
    ``None`` if there is none. Raises :class:`PyindexError` if it cannot be read, or is too large.
    """
    where = f"{directory.root}/{path}{ending}"
    try:
        with os.fdopen(open_beneath(str(directory.root), path + ending), "rb") as file:
            content = file.read(LARGEST[ending] + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PyindexError(f"{where}: {error.strerror}; restore or delete it") from None
    if len(content) > LARGEST[ending]:
        raise PyindexError(f"{where}: larger than {LARGEST[ending] // 1024} KiB; delete it")
    return content
