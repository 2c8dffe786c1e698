"""A view: the pages of one index with its bases, which become visible atomically.

The first pages are written to a staging directory while the indexes are scanned; one rename makes
them visible. Until then an absent page means nothing, and no base may answer for an index that may
yet have the project (dependency confusion).
"""

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
from pathlib import Path

from appliance import atomic
from appliance.site.tree import Site
from appliance.spec import Spec

_NOTE = ".view"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class View:
    """Directory of the pages of one index, and the catalog that they were made from.

    The directory has a note with the lineage that it was made for and a number stored in the
    catalog: pages of another catalog are not updated but replaced as a whole.
    """

    def __init__(self, spec: Spec, site: Site, name: str) -> None:
        self.name = name
        self.mark = f"view:{name}"
        self.lineage = [f"{each} {spec.indexes[each].packages}" for each in spec.lineage(name)]
        self._site, self._live, self._staged = site, site.simple(name), site.staged(name)

    @property
    def number(self) -> int:
        """Return the number in the note of the pages; 0 if they are of another lineage."""
        number, lineage = _note(self._live)
        return number if lineage == self.lineage else 0

    def is_live(self, number: int) -> bool:
        """Return whether the visible pages are those of the catalog with this number."""
        return self._made_for(self._live, number)

    def is_staged(self) -> bool:
        """Return whether new pages are being staged."""
        return self._staged.exists()

    def directory(self, number: int) -> Path | None:
        """Return the directory to write pages to; ``None`` before :meth:`stage`."""
        for directory in (self._live, self._staged):
            if self._made_for(directory, number):
                return directory
        return None

    def stage(self) -> int:
        """Create an empty staging directory; returns the number for the catalog to store."""
        self._site.remove_tree(self._staged)
        number = 1 + secrets.randbelow(1 << 62)
        atomic.make_directory(self._staged)
        with self._site.batch() as batch:
            batch.write(self._staged / _NOTE, "\n".join([str(number), *self.lineage]).encode())
        return number

    def copy(self) -> Path:
        """Copy the visible pages to the staging directory, which is returned. Pages are links to
        the same files, which no process overwrites."""
        self._site.remove_tree(self._staged)
        atomic.make_directory(self._staged.parent)
        shutil.copytree(self._live, self._staged, copy_function=_link)
        return self._staged

    def withdraw(self) -> None:
        """Unpublish pages of another lineage, unless the present one only adds or drops bases at
        its end: in others an index could answer that is no longer first."""
        before = _note(self._live)[1]
        common = min(len(before), len(self.lineage))
        if not common or before[:common] != self.lineage[:common]:
            self._site.remove_tree(self._live)

    def show(self) -> None:
        """Make the staged pages visible, replacing the previous ones atomically."""
        atomic.make_directory(self._live.parent)
        with contextlib.suppress(FileNotFoundError):
            if self._live.is_symlink():  # an alias, in trees of older releases
                self._live.unlink()
        if os.path.lexists(self._live):
            _exchange(self._staged, self._live, self._site.spare())
        else:
            self._staged.rename(self._live)
        atomic.sync(self._live.parent)
        self.clear()

    def shown(self) -> list[str]:
        """Return the indexes whose files are on the visible pages."""
        return [line.partition(" ")[0] for line in _note(self._live)[1]]

    def clear(self) -> None:
        """Remove the staging directory, after :meth:`show`."""
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


def _link(source: str, target: str) -> None:
    """Link ``target`` to the file ``source``; copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        shutil.copy2(source, target)


def _exchange(new: Path, old: Path, spare: Path) -> None:
    """Exchange two directories; in three steps where the system cannot do it atomically: after a
    kill between them, :meth:`View.directory` finds ``new`` where it was."""
    names = (os.fsencode(new), os.fsencode(old))
    with contextlib.suppress(AttributeError):  # glibc before 2.28
        if not _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
            return
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(old))
    old.rename(spare)
    new.rename(old)
    spare.rename(new)
