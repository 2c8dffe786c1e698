"""``www``, the tree that may be read: where everything in it lies, and whose it is."""

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from appliance.atomic import Batch, create, make_directory, remove_old
from appliance.errors import PyindexError
from appliance.index import names
from appliance.spec import Spec

PAGES = ("index.html", "index.html.gz", "index.json", "index.json.gz")

_OWNED = ".pyindex"
_OWNED_TEXT = b"Made by pyindex, which writes and removes everything below this directory.\n"
_OWNED_BEFORE = ".layout"  # all that a tree had before there was a mark
# What a deletion under a running index may leave.
_PLACES = frozenset({"simple", "packages"})
_HIDDEN = frozenset({".tmp", ".new", ".accepted", ".unpublished"})
_LEFT_SECONDS = 3600.0
_made_here: set[str] = set()  # the trees that this process has marked as ours


class Site:
    """``<state>/www``: pages, metadata files, and a marker for each file that may be fetched.

    Package files are read where they lie. A marker is an empty file that says that the index
    accepted the file; it lies apart, so that no server that knows nothing of it sends it.
    """

    def __init__(self, spec: Spec) -> None:
        self.www = spec.www
        # Text, since to make a Path of it takes longer than to make the file itself.
        self._www = str(spec.www)
        self._index = {name: f"{spec.www}/{spec.prefix(name)}" for name in spec.indexes}
        self._root = spec.root
        self._claimed: tuple[int, int] | None = None

    def simple(self, index: str, project: str = "") -> Path:
        """The directory of an index's project list, or of a project's pages."""
        return Path(f"{self._index[index]}simple/{project}")

    def staged(self, index: str) -> Path:
        """The directory of an index's pages until it can appear as :meth:`simple`, whole."""
        return Path(f"{self._www}/.new/{index}")

    def marker(self, index: str, path: str) -> str:
        """The marker of the package file, or the signature, at ``path``."""
        return f"{self._www}/.accepted/{index}/packages/{path}"  # nginx asks by the path of a URL

    def is_accepted(self, index: str, path: str) -> bool:
        """Whether the package file, or the signature, at ``path`` may be fetched."""
        try:
            return stat.S_ISREG(os.stat(self.marker(index, path)).st_mode)
        except (OSError, ValueError):
            return False

    def metadata(self, index: str, path: str) -> str:
        """Where the metadata of the package file at ``path`` is published (PEP 658)."""
        return f"{self._index[index]}packages/{path}{names.METADATA}"

    def batch(self, durable: bool = True) -> "Batch":
        """For files of the site. What is not finished lies apart, since processes that make and
        rename in one directory wait for one another. Raises :class:`PyindexError` if ``www`` is
        not ours."""
        self.claim()
        temporary = f"{self._www}/.tmp"
        make_directory(temporary)
        return Batch(temporary, durable)

    def check(self) -> None:
        """Raise :class:`PyindexError` if ``www`` is somebody else's: it has something in it, but
        not our mark."""
        try:
            names = set(os.listdir(self._www))
            status = os.stat(self._www)
        except FileNotFoundError:
            return

        is_ours = _OWNED in names or _OWNED_BEFORE in names or names <= _HIDDEN
        if not is_ours and self._www in _made_here:
            is_ours = all(map(self._is_made_by_us, names))
        # If we made it, its mark has been deleted since.
        if not is_ours and (status.st_dev, status.st_ino) != self._claimed:
            raise PyindexError(
                f"{self._www} is not empty and was not made by pyindex; choose another state"
                " directory"
            )

    def _is_made_by_us(self, name: str) -> bool:
        """Whether there is nothing else by this name than what we make: somebody has deleted the
        ``www`` that this process made, while we were writing there."""
        if name in _HIDDEN or name in _PLACES:
            return True
        try:
            inside = os.listdir(f"{self._www}/{name}")
        except OSError:
            return False
        return bool(inside) and _PLACES.issuperset(inside)

    def claim(self) -> None:
        """Make ``www`` with our mark in it; raises as :meth:`check` does."""
        mark = f"{self._www}/{_OWNED}"
        if self._claimed is not None and os.path.exists(mark):
            return
        self.check()
        make_directory(self._www)
        with contextlib.suppress(FileExistsError), open(create(mark), "wb") as file:
            file.write(_OWNED_TEXT)
            os.fchmod(file.fileno(), 0o644)
        status = os.stat(self._www)
        self._claimed = status.st_dev, status.st_ino
        _made_here.add(self._www)

    def spare(self) -> Path:
        """A name that nothing has, for what is about to be removed."""
        self.claim()
        make_directory(f"{self._www}/.tmp")
        return Path(f"{self._www}/.tmp/{secrets.token_hex(8)}")

    def remove_tree(self, place: Path | str) -> None:
        """Remove a directory of ours, which disappears at once and whole, if it is there."""
        aside = self.spare()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.rename(place, aside)
            shutil.rmtree(aside, ignore_errors=True)  # what cannot be removed now is tidied later

    def remove_others(self) -> None:
        """Remove what belongs to indexes that are no more."""
        for directory, known in (
            (self._www, {"simple", "packages", *self._index} - {self._root}),
            (f"{self._www}/.accepted", self._index.keys()),
            (f"{self._www}/.new", self._index.keys()),
        ):
            make_directory(directory)
            for entry in list(os.scandir(directory)):
                is_ours = entry.name.startswith(".") or entry.name in known
                if entry.is_dir(follow_symlinks=False) and not is_ours:
                    self.remove_tree(entry.path)

        # What was the first index was served under two names once.
        for index in self._index:
            for each in (self.simple(index), Path(self.metadata(index, "")).parent):
                if each.is_symlink():
                    each.unlink()

    def tidy(self, seconds: float = _LEFT_SECONDS) -> None:
        """Remove what processes that were killed left unfinished, ``seconds`` ago or longer.

        By the ctime, as pages have the mtimes that they will be known by; not by the process that
        made it, as numbers of processes come again at once in a container.
        """
        self.check()
        remove_old(f"{self._www}/.tmp", seconds)


def page_time(serial: int) -> int:
    """The mtime of a page that shows ``serial``: its hexadecimal digits are the serial's decimals.

    nginx makes a strong ETag of the mtime in hex and the size, so the ETag of a page reads
    ``"<serial>-<size>"``. It changes with each rewriting however fast they come and whatever the
    clock says, and nginx can take X-PyPI-Last-Serial from it. XFS without bigtime keeps 31 bits,
    which is enough for 79,999,999 changes; after that the count of mtimes begins again.
    """
    return int(str(serial % 80_000_000), 16)


def last_serial(spec: Spec) -> int:
    """The serial that the project list shows; 0 if there is none."""
    try:
        digits = f"{int((Site(spec).simple(spec.root) / PAGES[0]).stat().st_mtime):x}"
    except FileNotFoundError:
        return 0
    return int(digits) if digits.isdecimal() else 0
