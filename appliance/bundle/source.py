"""Where a load takes files from: an archive (:mod:`read`) or a directory (:mod:`folder`)."""

from typing import Protocol

from appliance.bundle.manifest import BundledFile, Manifest


class Source(Protocol):
    """Content that can be loaded.

    Attributes:
        name: Its path, for messages.
        manifest: What it has. ``index`` is empty for a directory of files.
        key: The id of the trusted key that signed it, or ``None``.
    """

    name: str
    manifest: Manifest
    key: str | None

    def copy(self, file: BundledFile, descriptor: int) -> str:
        """Write the content of a file to a descriptor; return the SHA-256 of what was written.
        Raises :class:`PyindexError` if it cannot be read."""
