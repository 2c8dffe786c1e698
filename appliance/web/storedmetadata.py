"""Core metadata that was stored when files were accepted. No request opens an archive."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache

from appliance.catalog.metadata import KeptMetadata
from appliance.errors import Rejected
from appliance.index.metadata import MAX_METADATA, CoreMetadata, parse
from appliance.index.model import File
from appliance.site.files import metadata_paths
from appliance.site.tree import Site
from appliance.spec import Spec

_KINDS_BY_TRUST = ("bdist_wheel", "sdist", "bdist_egg")
_REMEMBERED_BYTES = 256 * 1024
_NOTHING = CoreMetadata({}, {}, "", is_utf8=True)


class StoredMetadata:
    """The stored core metadata of all indexes of a spec."""

    def __init__(self, spec: Spec) -> None:
        self._site, self._kept = Site(spec), KeptMetadata(spec.state)

    def of_release(self, index: str, files: Sequence[File]) -> CoreMetadata:
        """The metadata of a release, from the file that can be trusted most; empty if none of its
        files has any."""
        for kind in _KINDS_BY_TRUST:
            for file in files:
                if file.kind == kind and (metadata := self._of_file(index, file)) is not None:
                    return metadata
        return _NOTHING

    def _of_file(self, index: str, file: File) -> CoreMetadata | None:
        """The metadata of one file; ``None`` if there is none, or it has just been moved or
        replaced."""
        paths = metadata_paths(self._site, self._kept, index, file.path)
        for path in paths if file.core_metadata is not None else paths[1:2]:
            with contextlib.suppress(OSError, Rejected):
                return _load(path, file.core_metadata, file.sha256)
        return None


def _load(path: str, core_metadata: str | None, sha256: str) -> CoreMetadata:
    """The metadata at ``path``, of the file with the digest ``sha256``; remembered if it is not
    large. Raises :class:`Rejected` for other bytes than those of the digest ``core_metadata``."""
    is_large = os.stat(path).st_size > _REMEMBERED_BYTES  # noqa: PTH116
    return (_read if is_large else _remembered)(path, core_metadata, sha256)


def _read(path: str, core_metadata: str | None, _sha256: str) -> CoreMetadata:
    with open(path, "rb") as file:  # noqa: PTH123 - a text, as the site gives it
        raw = file.read(MAX_METADATA)
    if core_metadata not in (None, hashlib.sha256(raw).hexdigest()):
        raise Rejected("the metadata of another file")
    return parse(raw)


_remembered = lru_cache(maxsize=64)(_read)
