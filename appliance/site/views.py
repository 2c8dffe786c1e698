"""A view is what readers see below one URL: an index, and its bases behind it. It appears whole.

Its first pages are written aside while its indexes are scanned; one rename puts them in place.
Until then an absent page says nothing, and no base may answer in the place of an index that may yet
have the project (dependency confusion).
"""

import contextlib
import ctypes
import errno
import os
import secrets
from pathlib import Path

from appliance import atomic
from appliance.site.tree import Site
from appliance.spec import Spec

_NOTE = ".view"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class View:
    """Where the pages of one index are, and of which catalog.

    The directory has a note of the lineage that it was made for, and a number that the catalog
    knows: pages that another catalog made are not brought up to date, but replaced as a whole.
    """

    def __init__(self, spec: Spec, site: Site, name: str) -> None:
        self.name = name
        self.mark = f"view:{name}"
        self.lineage = [f"{each} {spec.indexes[each].packages}" for each in spec.lineage(name)]
        self._site, self._live, self._staged = site, site.simple(name), site.staged(name)

    @property
    def number(self) -> int:
        """The number of the catalog that the pages are of; 0 if they are of another lineage."""
        number, lineage = _note(self._live)
        return number if lineage == self.lineage else 0

    def is_live(self, number: int) -> bool:
        """Whether the pages that readers see are those of the catalog that has this number."""
        return self._made_for(self._live, number)

    def is_staged(self) -> bool:
        """Whether pages are made anew, aside."""
        return self._staged.exists()

    def directory(self, number: int) -> Path | None:
        """Where pages are to be written; ``None`` before :meth:`stage`."""
        for directory in (self._live, self._staged):
            if self._made_for(directory, number):
                return directory
        return None

    def stage(self) -> int:
        """Begin anew, aside; returns the number that the catalog is to remember."""
        self._site.remove_tree(self._staged)
        number = 1 + secrets.randbelow(1 << 62)
        atomic.make_directory(self._staged)
        with self._site.batch() as batch:
            batch.write(self._staged / _NOTE, "\n".join([str(number), *self.lineage]).encode())
        return number

    def withdraw(self) -> None:
        """Take down pages in which an index answers that no longer comes first for each name."""
        before = _note(self._live)[1]
        common = min(len(before), len(self.lineage))
        if not common or before[:common] != self.lineage[:common]:
            self._site.remove_tree(self._live)

    def show(self) -> None:
        """Put what is staged in the place of what readers saw until now, whole."""
        atomic.make_directory(self._live.parent)
        with contextlib.suppress(FileNotFoundError):
            if self._live.is_symlink():  # an alias, in trees from before
                self._live.unlink()
        if os.path.lexists(self._live):
            _exchange(self._staged, self._live, self._site.spare())
        else:
            self._staged.rename(self._live)
        atomic.sync(self._live.parent)
        self.clear()

    def shown(self) -> list[str]:
        """The indexes whose files stand on the pages that readers see."""
        return [line.partition(" ")[0] for line in _note(self._live)[1]]

    def clear(self) -> None:
        """Remove what is staged, which has been shown."""
        self._site.remove_tree(self._staged)

    def _made_for(self, directory: Path, number: int) -> bool:
        return number > 0 and _note(directory) == (number, self.lineage)


def _note(directory: Path) -> tuple[int, list[str]]:
    """The number and the lineage noted in a directory of pages; 0 and [] without a note."""
    try:
        number, *lineage = (directory / _NOTE).read_text(errors="replace").split("\n")
        return int(number), lineage
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0, []


def _exchange(new: Path, old: Path, spare: Path) -> None:
    """Let two directories change places; where the system cannot do it at once, in three steps:
    should it end between them, :meth:`View.directory` finds ``new`` where it was."""
    names = (os.fsencode(new), os.fsencode(old))
    with contextlib.suppress(AttributeError):  # glibc before 2.28
        if not _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
            return
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(old))
    old.rename(spare)
    new.rename(old)
    spare.rename(new)
