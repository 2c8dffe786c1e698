"""Links from digests of package files to their markers, for an appliance that stands in for another
index (``nginx.stand_in``).

In URLs of the other index a file has its digest and its name, not its path. Below ``www/.digests``
a symbolic link at that place leads to the file's marker, whose path names index and path: nginx and
the application read them from there. A marker says which link leads to it, so that the link of
replaced bytes can be found. Links are removed before their markers.
"""

import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.atomic import Batch, files_below, remove_empty, unlink
from appliance.index.model import File
from appliance.site.tree import Site

_PATH = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+")
_NONE = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    errno.EINVAL,  # not a symbolic link
)
_LEVELS = 5  # of directories from ``www`` to a link


class DigestLinks:
    """The links of one index."""

    def __init__(self, site: Site, index: str) -> None:
        self._site, self._index = site, index
        self._top = site.digests(index)
        self._to_markers = "../" * _LEVELS + f".accepted/{index}/packages/"

    def offer(self, file: File, batch: Batch) -> None:
        """Link to the marker of a file. The link of the bytes that were at its path before is
        removed at once."""
        marker, path = self._site.marker(self._index, file.path), file.digest_path
        if _content(marker) != path:
            self.withdraw(file.path)
            batch.write(marker, path.encode())
        batch.link(f"{self._top}/{path}", f"{self._to_markers}{file.path}")

    def withdraw(self, path: str) -> None:
        """Remove the link to the marker of the package file at ``path``."""
        link = f"{self._top}/{_content(self._site.marker(self._index, path))}"
        if _target(link) == f"{self._to_markers}{path}":  # else the file has moved
            self._remove(link)

    def sweep(self) -> None:
        """Remove links whose markers do not name them."""
        for path in self.strays():
            self._remove(f"{self._top}/{path}")

    def strays(self) -> Iterator[str]:
        """Yield the links whose markers do not name them, as paths by digest."""
        for path in files_below(f"{self._top}/"):
            marked = self.resolve(path)
            if marked is None or _content(self._site.marker(self._index, marked)) != path:
                yield path

    def has(self, file: File) -> bool:
        """Return whether the link of a file, and no other, leads to its marker."""
        marker = self._site.marker(self._index, file.path)
        return self.resolve(file.digest_path) == file.path and _content(marker) == file.digest_path

    def resolve(self, digest_path: str) -> str | None:
        """Return the path in the packages directory of the file at ``digest_path``; ``None``
        without a link. The file may be withdrawn: check its marker."""
        if not _PATH.fullmatch(digest_path):
            return None
        target = _target(f"{self._top}/{digest_path}") or ""
        is_ours = target.startswith(self._to_markers)
        return target.removeprefix(self._to_markers) if is_ours else None

    def _remove(self, link: str) -> None:
        unlink(link)
        remove_empty(link.rpartition("/")[0], self._top)


def digest_links(site: Site) -> dict[str, DigestLinks]:
    """Return the links of each index whose files have them, in the order to search them."""
    return {index: DigestLinks(site, index) for index in site.linked}


def _content(marker: str) -> str:
    """Return the path of the link that a marker names; "" without one."""
    text = _read(Path(marker).read_text) or ""
    return text if _PATH.fullmatch(text) else ""


def _target(link: str) -> str | None:
    return _read(lambda: str(Path(link).readlink()))


def _read(read: Callable[[], str]) -> str | None:
    """Return what ``read`` returns; ``None`` if there is no such file or link. Raises ``OSError``
    for other failures: a link that could not be read must not stay."""
    try:
        return read()
    except ValueError:  # a name or a text that is not one
        return None
    except OSError as error:
        if error.errno in _NONE:
            return None
        raise
