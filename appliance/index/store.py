"""``www``, the tree that may be read, and the only code that writes files: under another name,
synced, then renamed, so that a reader finds all of it or none."""

import contextlib
import ctypes
import errno
import itertools
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.errors import PyindexError
from appliance.index import names

if TYPE_CHECKING:  # to import it takes longer than to look at a hundred files
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

    def __init__(self, spec: "Spec") -> None:
        self.www = spec.www
        self._state = spec.state
        # Text, since to make a Path of it takes longer than to make the file itself.
        self._www = str(spec.www)
        self._index = {name: f"{spec.www}/{spec.prefix(name)}" for name in spec.indexes}
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

    def unpublished_metadata(self, index: str, path: str) -> str:
        """Where the metadata of a file lies whose page promises none (PEP 658): the JSON API reads
        it, since no request opens an archive. Not below ``www``."""
        return f"{self._state}/metadata/{index}/{path}{names.METADATA}"

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
            found = set(os.listdir(self._www))
            status = os.stat(self._www)
        except FileNotFoundError:
            return
        ours = _OWNED in found or _OWNED_BEFORE in found or found <= _HIDDEN
        if not ours and self._www in _made_here:
            ours = all(map(self._is_made_by_us, found))
        # If we made it, its mark has been deleted since.
        if not ours and (status.st_dev, status.st_ino) != self._claimed:
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
        with contextlib.suppress(FileExistsError), open(_open_new(mark), "wb") as file:
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

    def tidy(self, seconds: float = _LEFT_SECONDS) -> None:
        """Remove what processes that were killed left unfinished, ``seconds`` ago or longer.

        By the ctime, as pages have the mtimes that they will be known by; not by the process that
        made it, as numbers of processes come again at once in a container.
        """
        self.check()
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(f"{self._www}/.tmp")):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if time.time() - status.st_ctime < seconds:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        unlink(entry.path)


def page_time(serial: int) -> int:
    """The mtime of a page that shows ``serial``: its hexadecimal digits are the serial's decimals.

    nginx makes a strong ETag of the mtime in hex and the size, so the ETag of a page reads
    ``"<serial>-<size>"``. It changes with each rewriting however fast they come and whatever the
    clock says, and nginx can take X-PyPI-Last-Serial from it. XFS without bigtime keeps 31 bits,
    which is enough for 79,999,999 changes; after that the count of mtimes begins again.
    """
    return int(str(serial % 80_000_000), 16)


def last_serial(spec: "Spec") -> int:
    """The serial that the project list shows; 0 if there is none."""
    try:
        digits = f"{int((Site(spec).simple(spec.root) / PAGES[0]).stat().st_mtime):x}"
    except FileNotFoundError:
        return 0
    return int(digits) if digits.isdecimal() else 0


class Batch:
    """Files that are written together and then appear, each one whole.

    Until then they lie under other names: in the directory ``temporary``, which must be on the
    same file system, or hidden beside their targets. A batch that ends in an exception removes
    what has not appeared. If it is not ``durable``, the caller calls :func:`sync` before anything
    refers to the files.
    """

    def __init__(self, temporary: str | None = None, durable: bool = True) -> None:
        self._temporary, self._durable = temporary, durable
        self._names = (f"{secrets.token_hex(6)}-{number}" for number in itertools.count())
        self._pending: list[tuple[str, str]] = []
        self._written: list[str] = []
        self._directories: set[str] = set()
        self._appeared: set[str] = set()

    def write(self, target: Path | str, content: bytes, mtime: int | None = None) -> None:
        """Prepare ``target`` with mode 0644, and ``mtime`` in seconds if one is given."""
        temporary = self._prepare(str(target))
        self._pending.append((temporary, str(target)))
        self._create(temporary, content, mtime)

    def write_unseen(self, target: str, content: bytes) -> None:
        """Prepare ``target``, which nobody has heard of yet if it is not there: then it is written
        in place, at a third of the cost."""
        directory = os.path.dirname(target)
        self._make_room(directory)
        try:
            self._create(target, content)
        except FileExistsError:
            self.write(target, content)
        except BaseException:
            unlink(target)
            raise
        else:
            self._appeared.add(directory)

    def _create(self, place: str, content: bytes, mtime: int | None = None) -> None:
        descriptor = _open_new(place)
        try:
            self._written.append(place)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, 0o644)  # whatever the umask
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)

    def mark(self, place: str) -> bool:
        """Make the empty file ``place``, which appears at once. Returns whether it is new."""
        self._make_room(os.path.dirname(place))
        try:
            descriptor = _open_new(place)
        except FileExistsError:
            if not stat.S_ISREG(os.lstat(place).st_mode):
                self.write(place, b"")
            return False
        os.fchmod(descriptor, 0o644)  # whatever the umask
        os.close(descriptor)
        return True

    def commit(self) -> None:
        """Make all of it durable, then visible, then that durable."""
        if self._durable:
            _sync(self._written)
        for temporary, target in self._pending:
            try:
                os.replace(temporary, target)
            except IsADirectoryError:
                if self._temporary is None:
                    raise
                # Of our own tree: it was a directory in the packages directory once.
                os.rename(target, f"{self._temporary}/{next(self._names)}")
                os.replace(temporary, target)
            except FileNotFoundError:  # another process found the directory empty and removed it
                make_directory(os.path.dirname(target))
                os.replace(temporary, target)
        if self._durable:
            _sync(sorted(self._appeared | {os.path.dirname(place) for _, place in self._pending}))
        self._pending.clear()

    def _prepare(self, target: str) -> str:
        """A name for the file until it appears at ``target``, whose directory is there then."""
        directory, name = os.path.split(target)
        self._make_room(directory)
        if self._temporary is None:
            return f"{directory}/.{name}.{next(self._names)}"
        return f"{self._temporary}/{next(self._names)}"

    def _make_room(self, directory: str) -> None:
        if directory not in self._directories:
            make_directory(directory)
            self._directories.add(directory)

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            for temporary, _target in self._pending:
                unlink(temporary)


def _open_new(place: str) -> int:
    """Make a file, and its directory again should another process just have removed it."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        make_directory(os.path.dirname(place))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place)


def unlink(place: Path | str) -> None:
    """Remove ``place`` if it is there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(place)


def remove_empty(directory: str, top: str) -> None:
    """Remove directories that are empty, from ``directory`` up to below ``top``."""
    while directory.startswith(f"{top}/"):
        try:
            os.rmdir(directory)
        except OSError:
            return  # not empty, or gone
        directory = os.path.dirname(directory)


def discard(file: Path, trash: Path) -> Path:
    """Move ``file`` into the directory ``trash``, under a name that was not used yet.

    The file is whole in one place or the other at every moment; trash may be another file system.
    No symbolic link is followed to it: ``file.parent`` is a real path.
    Raises ``OSError`` for a file that may not be moved: then nothing of it is in the trash.
    """
    trash.mkdir(0o750, parents=True, exist_ok=True)
    directory = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = f"/proc/self/fd/{directory}"
        if os.readlink(opened) != str(file.parent):  # by way of a link that somebody has put there
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(file.parent))
        place = _discard(Path(opened, file.name), trash)
    finally:
        os.close(directory)
    _sync([str(trash), str(file.parent)])
    return place


def _discard(file: Path, trash: Path) -> Path:
    if stat.S_ISDIR(os.lstat(file).st_mode):  # in the place of the file
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (f"{stamp}{suffix}-{file.name}" for suffix in ("", *(f".{n}" for n in range(1, 1000))))
    place = next(trash / name for name in names if not os.path.lexists(trash / name))
    try:
        os.rename(file, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(file, place)
    return place


def _move_across(file: Path, place: Path) -> None:
    """Move ``file`` to another file system."""
    if not os.access(file.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    temporary = place.with_name(f".{place.name}")
    try:
        shutil.copy2(file, temporary, follow_symlinks=False)
        if not temporary.is_symlink():
            _sync([str(temporary)])
        os.replace(temporary, place)
        os.unlink(file)
    except OSError:
        unlink(temporary)
        if os.path.lexists(file):
            unlink(place)
        raise


def sync(directory: Path) -> None:
    """Make everything written on the file system of ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(directory))
    finally:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True)
# From here on one sync of the file system costs less than one of each file.
_MANY = 16


def _sync(paths: list[str]) -> None:
    """Make files and directories durable; what another process has removed needs no more."""
    if len(paths) >= _MANY:
        directory = Path(paths[0]).parent
        sync(next(each for each in (directory, *directory.parents) if each.is_dir()))
        return
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_directory(directory: Path | str) -> None:
    """Make a directory that everybody may read, and its parents, whatever the umask is."""
    if os.path.isdir(directory):
        return
    make_directory(os.path.dirname(directory))
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
        os.chmod(directory, 0o755)  # noqa: S103 - nginx runs as another user


def files_below(top: str) -> Iterator[str]:
    """The paths of all that is no directory below ``top``, which ends in a slash."""
    for directory, _, files in os.walk(top):
        inner = directory[len(top) :]
        for file in files:
            yield f"{inner}/{file}" if inner else file
