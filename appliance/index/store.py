"""``www``, the tree that may be read, and the only code that writes files: under another name,
synced, then renamed, so that a reader finds all of it or none."""

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.index import names

if TYPE_CHECKING:  # to import it takes longer than to look at a hundred files
    from appliance.spec import Spec

PAGES = ("index.html", "index.html.gz", "index.json", "index.json.gz")


class Site:
    """``<state>/www``: pages, metadata files, and a link for each file that may be fetched."""

    def __init__(self, spec: "Spec") -> None:
        self.www = spec.www
        self._state = spec.state
        # Text, since to make a Path of it takes longer than to make the link itself.
        self._index = {name: f"{spec.www}/{spec.prefix(name)}" for name in spec.indexes}

    def simple(self, index: str, project: str = "") -> Path:
        """The directory of an index's project list, or of a project's pages."""
        return Path(f"{self._index[index]}simple/{project}")

    def link(self, index: str, path: str) -> str:
        """Where the package file at ``path`` is linked to be fetched."""
        return f"{self._index[index]}packages/{path}"

    def metadata(self, index: str, path: str) -> str:
        return self.link(index, path) + names.METADATA

    def signature(self, index: str, path: str) -> str:
        return self.link(index, path) + names.SIGNATURE

    def unpublished_metadata(self, index: str, path: str) -> str:
        """Where the metadata of a file lies whose page promises none (PEP 658): the JSON API reads
        it, since no request opens an archive. Not below ``www``."""
        return f"{self._state}/metadata/{index}/{path}{names.METADATA}"

    def batch(self, durable: bool = True) -> "Batch":
        """For files of the site. What is not finished lies apart, since processes that make and
        rename in one directory wait for one another."""
        temporary = f"{self.www}/.tmp"
        make_directory(temporary)
        return Batch(temporary, durable)

    def tidy(self) -> None:
        """Remove what processes that were killed left unfinished."""
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(self.www / ".tmp")):
                if not _is_running(int(entry.name.partition("-")[0])):
                    unlink(entry.path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and somebody else's
    return True


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
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
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

    def link(self, target: str, place: str) -> bool:
        """Prepare ``place`` as a symbolic link to ``target``; a new one appears at once. Returns
        whether it is new."""
        self._make_room(os.path.dirname(place))
        try:
            os.symlink(target, place)
        except FileExistsError:
            if not (os.path.islink(place) and os.readlink(place) == target):
                temporary = self._prepare(place)
                os.symlink(target, temporary)
                self._pending.append((temporary, place))
            return False
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
                shutil.rmtree(target)  # of our own tree: it was a directory in the folder once
                os.replace(temporary, target)
        if self._durable:
            _sync(sorted(self._appeared | {os.path.dirname(place) for _, place in self._pending}))
        self._pending.clear()

    def _prepare(self, target: str) -> str:
        """A name for the file until it appears at ``target``, whose directory is there then."""
        directory, name = os.path.split(target)
        self._make_room(directory)
        if self._temporary is None:
            return f"{directory}/.{name}.{os.getpid()}-{next(_numbers)}"
        return f"{self._temporary}/{os.getpid()}-{next(_numbers)}"

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


_numbers = itertools.count()


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
    Raises ``OSError`` for a file that may not be moved: then nothing of it is in the trash.
    """
    trash.mkdir(0o750, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (f"{stamp}{suffix}-{file.name}" for suffix in ("", *(f".{n}" for n in range(1, 1000))))
    place = next(trash / name for name in names if not os.path.lexists(trash / name))
    try:
        os.rename(file, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(file, place)
    _sync([str(trash), str(file.parent)])
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


def remove_page(directory: Path) -> None:
    """Remove a project's pages and their directory."""
    for page in PAGES:
        unlink(directory / page)
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
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
    if len(paths) >= _MANY:
        sync(Path(paths[0]).parent)
        return
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
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
