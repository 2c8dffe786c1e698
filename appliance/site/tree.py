"""The published tree ``www``: its paths, its owner, its temporary files."""

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path

from appliance.atomic import Batch, create, make_directory, remove_old, sync, unlink
from appliance.errors import PyindexError
from appliance.index import names
from appliance.spec import Spec

PAGES = ("index.html", "index.html.gz", "index.json", "index.json.gz")
# The same, with the URLs of the index that the appliance stands in for.
STAND_IN_PAGES = tuple(page.replace("index", "stand-in") for page in PAGES)

_OWNED = ".pyindex"
_OWNED_TEXT = b"Made by pyindex, which writes and removes everything below this directory.\n"
_OWNED_BEFORE = ".layout"  # in trees of releases before that
# Names that remain after a deletion under a running index.
_SUBDIRECTORIES = frozenset({"simple", "packages"})
_HIDDEN = frozenset({".tmp", ".new", ".accepted", ".digests", ".unpublished"})
_UNFINISHED_SECONDS = 3600.0
_made_here: set[str] = set()  # trees that this process created


class Site:
    """``<state>/www``: pages, metadata files, and a marker for each file that clients may download.

    Package files are served from the packages directories. A marker is a file that permits serving
    one accepted file; markers have a directory of their own, which no server publishes. So have the
    links of :mod:`digests`.

    Attributes:
        linked: Indexes whose files have links, in resolution order; none without
            ``nginx.stand_in``.
    """

    def __init__(self, spec: Spec) -> None:
        self.www = spec.www
        # Strings: creating a Path takes longer than creating the file itself.
        self._www = str(spec.www)
        self._index = {name: f"{spec.www}/{spec.prefix(name)}" for name in spec.indexes}
        self._root = spec.root
        self.linked = spec.lineage(spec.root) if spec.nginx.stand_in else ()
        self._claimed: tuple[int, int] | None = None
        self._has_removed = False

    def simple(self, index: str, project: str = "") -> Path:
        """Return the directory of an index's project list, or of a project's pages."""
        return Path(f"{self._index[index]}simple/{project}")

    def staged(self, index: str) -> Path:
        """Return the directory of an index's pages before they are complete and become visible."""
        return Path(f"{self._www}/.new/{index}")

    def marker(self, index: str, path: str) -> str:
        """Return the path of the marker of the package file, or the signature, at ``path``: below
        ``.accepted`` as in the URL, by which nginx tests it."""
        return f"{self._www}/.accepted/{index}/packages/{path}"

    def is_accepted(self, index: str, path: str) -> bool:
        """Return whether clients may download the package file, or the signature, at ``path``."""
        try:
            return stat.S_ISREG(os.stat(self.marker(index, path)).st_mode)
        except (OSError, ValueError):
            return False

    def digests(self, index: str) -> str:
        """Return the directory of the links to the markers of an index's files, by digest."""
        return f"{self._www}/.digests/{index}"

    def metadata(self, index: str, path: str) -> str:
        """Return the path of the published metadata of the package file at ``path`` (PEP 658)."""
        return f"{self._index[index]}packages/{path}{names.METADATA}"

    def batch(self, durable: bool = True) -> "Batch":
        """Return a batch for files of the site. Unfinished files have their own directory, since
        processes that create and rename in one directory wait for each other. Raises
        :class:`PyindexError` if pyindex did not create ``www``."""
        self.claim()
        temporary = f"{self._www}/.tmp"
        make_directory(temporary)
        return Batch(temporary, durable)

    def check(self) -> None:
        """Raise :class:`PyindexError` if ``www`` is not empty and lacks the owner file."""
        try:
            names = set(os.listdir(self._www))
            status = os.stat(self._www)
        except FileNotFoundError:
            return

        is_ours = _OWNED in names or _OWNED_BEFORE in names or names <= _HIDDEN
        if not is_ours and self._www in _made_here:
            is_ours = all(map(self._is_own, names))
        # If this process created it, its owner file was deleted since.
        if not is_ours and (status.st_dev, status.st_ino) != self._claimed:
            raise PyindexError(
                f"{self._www}: not empty and not created by pyindex; choose another state directory"
            )

    def _is_own(self, name: str) -> bool:
        """Return whether pyindex creates such an entry. This process may have been writing while a
        user deleted the ``www`` that it had created."""
        if name in _HIDDEN or name in _SUBDIRECTORIES:
            return True
        try:
            entries = os.listdir(f"{self._www}/{name}")
        except OSError:
            return False
        return bool(entries) and _SUBDIRECTORIES.issuperset(entries)

    def claim(self) -> None:
        """Create ``www`` with the owner file; raises as :meth:`check` does."""
        owner_file = f"{self._www}/{_OWNED}"
        if self._claimed is not None and os.path.exists(owner_file):
            return

        self.check()
        make_directory(self._www)
        with contextlib.suppress(FileExistsError), open(create(owner_file), "wb") as file:
            file.write(_OWNED_TEXT)
            os.fchmod(file.fileno(), 0o644)

        status = os.stat(self._www)
        self._claimed = status.st_dev, status.st_ino
        _made_here.add(self._www)

    def spare(self) -> Path:
        """Return an unused path, for a directory about to be removed."""
        self.claim()
        make_directory(f"{self._www}/.tmp")
        return Path(f"{self._www}/.tmp/{secrets.token_hex(8)}")

    def remove(self, path: str) -> None:
        """Remove a file below ``www`` if it exists."""
        self._has_removed = True
        unlink(path)

    def sync_removals(self) -> None:
        """Make removals durable, also those that a killed process made before: a page or marker
        that came back after a loss of power would stay, as nothing is published again."""
        if self._has_removed:
            sync(self.www)
            self._has_removed = False

    def remove_tree(self, directory: Path | str) -> None:
        """Remove a directory below ``www`` atomically, if it exists."""
        self._has_removed = True
        spare = self.spare()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.rename(directory, spare)
            shutil.rmtree(spare, ignore_errors=True)  # tidy() removes the rest later

    def remove_others(self) -> None:
        """Remove the directories of indexes that are no longer in the spec."""
        if not self.linked:
            self.remove_tree(f"{self._www}/.digests")
        for directory, known in (
            (self._www, {"simple", "packages", *self._index} - {self._root}),
            (f"{self._www}/.accepted", self._index.keys()),
            (f"{self._www}/.new", self._index.keys()),
            *([(f"{self._www}/.digests", set(self.linked))] if self.linked else []),
        ):
            make_directory(directory)
            for entry in list(os.scandir(directory)):
                is_ours = entry.name.startswith(".") or entry.name in known
                if entry.is_dir(follow_symlinks=False) and not is_ours:
                    self.remove_tree(entry.path)

        # Older releases served the first index under two names.
        for index in self._index:
            for each in (self.simple(index), Path(self.metadata(index, "")).parent):
                if each.is_symlink():
                    each.unlink()

    def tidy(self, seconds: float = _UNFINISHED_SECONDS) -> None:
        """Remove unfinished files of killed processes, at least ``seconds`` old.

        By ctime, since the mtime of a page carries its serial; not by the process id in a name,
        since process ids repeat soon in a container.
        """
        self.check()
        remove_old(f"{self._www}/.tmp", seconds)


def page_time(serial: int) -> int:
    """Return the mtime of a page of ``serial``: its hexadecimal digits are the serial's decimals.

    nginx makes a strong ETag of the mtime in hex and the size, so that the ETag of a page reads
    ``"<serial>-<size>"``. It changes with each rewrite whatever the clock says, and nginx can take
    X-PyPI-Last-Serial from it. XFS without bigtime keeps 31 bits, enough for 79,999,999 changes;
    after that the mtimes repeat.
    """
    return int(str(serial % 80_000_000), 16)


def last_serial(spec: Spec) -> int:
    """Return the serial of the project list; 0 if there is none."""
    try:
        digits = f"{int((Site(spec).simple(spec.root) / PAGES[0]).stat().st_mtime):x}"
    except FileNotFoundError:
        return 0
    return int(digits) if digits.isdecimal() else 0
