"""Writing a bundle: deterministic, in one pass over the package files, atomically."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

from appliance.atomic import Batch, sync_paths, unlink
from appliance.bundle import since, tar, volumes
from appliance.bundle.manifest import LARGEST_MANIFEST, BundledFile, Manifest, dump, make
from appliance.bundle.minisign import SUFFIX, SecretKey, hasher
from appliance.bundle.selection import Selection, select
from appliance.errors import PyindexError
from appliance.incoming.beneath import open_beneath
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File
from appliance.locks import try_lock
from appliance.spec import Spec
from appliance.text import counted

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written: its volumes, the number of files in it and left out, its bytes."""

    id: str
    paths: list[Path]
    files: int
    left_out: int
    bytes: int


def write(
    out: Path,
    spec: Spec,
    index: str,
    files: Collection[File] | None = None,
    *,
    known: Set[str] = frozenset(),
    volume: int | None = None,
    key: SecretKey | None = None,
) -> Written:
    """Write ``files`` of an index, or all, into the bundle ``out``; with ``volume`` into volumes of
    at most so many bytes beside it. The same content gives the same bytes.

    Files whose SHA-256 is in ``known`` are named in the manifest, and left out. ``key`` signs each
    volume. The bundle is recorded in the state directory,
    for :func:`appliance.bundle.since.known_digests`.

    Raises :class:`PyindexError`, or ``OSError``, with nothing written: also if a file is not what
    the catalog says, and if there is no directory for ``out``, as where no medium is mounted.
    """
    if not out.parent.is_dir():
        raise PyindexError(f"{out.parent}: no such directory; mount the medium, or create it")
    selection = select(spec, index, files, known)
    manifest = _manifest(index, selection, volume)
    directory = PackagesDirectory(spec.indexes[index].packages)
    targets = (
        [out]
        if volume is None
        else [volumes.path_of(out, n) for n in range(1, manifest.volumes + 1)]
    )

    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(_output(target)) for target in targets]
        for number, output in enumerate(outputs, 1):
            with _naming(output.target):
                _write_volume(output, manifest.model_copy(update={"volume": number}), directory)
        since.record(spec.state, manifest)
        with _naming(out):
            _publish(out, outputs, manifest, key)
    carried = len(manifest.carried)
    size = sum(output.size for output in outputs)
    return Written(manifest.id, targets, carried, len(manifest.files) - carried, size)


def _manifest(index: str, selection: Selection, volume: int | None) -> Manifest:
    """Return the manifest of the first volume."""

    def of(files: list[BundledFile], count: int) -> Manifest:
        return make(index, selection.serial, selection.time, count, files, selection.projects)

    most = [f.model_copy(update={"volume": 999 * bool(f.volume)}) for f in selection.files]
    limit = len(dump(of(most, 999)))
    if limit > LARGEST_MANIFEST:
        raise PyindexError(
            f"index {index}: {counted(len(most), 'file')}, too many for one bundle;"
            " bundle fewer files"
        )
    placed = volumes.cut(selection.files, volume, limit)
    return of(placed, max((file.volume for file in placed), default=1) or 1)


# --- output ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Output:
    """A volume that is being written under a temporary name."""

    target: Path
    temporary: Path
    descriptor: int
    size: int = 0
    hash: "hashlib.blake2b" = field(default_factory=hasher)

    def write(self, content: bytes) -> None:
        self.hash.update(content)
        self.size += len(content)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]


@contextlib.contextmanager
def _output(target: Path) -> Iterator[_Output]:
    """Open a volume under a hidden name beside its own, which a killed process may have left."""
    temporary = target.with_name(f".{target.name}.part")
    with _naming(target):
        descriptor = _open_locked(temporary)
    try:
        yield _Output(target, temporary, descriptor)
    finally:
        if _is_at(descriptor, temporary):  # it was not renamed
            unlink(temporary)
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the file at a path is the open one."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _open_locked(path: Path) -> int:
    """Open an empty file that no other process writes."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        if not try_lock(descriptor):
            os.close(descriptor)
            raise PyindexError(f"{path}: another command is writing it; wait until it has ended")
        if _is_at(descriptor, path):
            os.ftruncate(descriptor, 0)
            return descriptor
        os.close(descriptor)  # another process has just renamed it


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of writing name the bundle."""
    try:
        yield
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; nothing was written") from error


def _write_volume(output: _Output, manifest: Manifest, directory: PackagesDirectory) -> None:
    output.write(volumes.manifest_member(dump(manifest)))
    for file in manifest.of_volume(manifest.volume):
        output.write(volumes.header_of(file))
        _copy(output, directory, file)
        output.write(bytes(tar.padding(file.size)))
    output.write(tar.END)
    os.fsync(output.descriptor)


def _copy(output: _Output, directory: PackagesDirectory, file: BundledFile) -> None:
    """Copy the content of a package file. Raises :class:`PyindexError` unless it is that of the
    catalog."""
    path = directory.root / file.path
    try:
        descriptor = open_beneath(str(directory.root), file.path)
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; run `pyindex verify`") from None

    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        status = os.fstat(descriptor)
        digest, rest = hashlib.sha256(), file.size
        is_same = stat.S_ISREG(status.st_mode) and status.st_size == file.size
        while is_same and rest and (chunk := _read(opened.fileno(), min(rest, _CHUNK), path)):
            digest.update(chunk)
            output.write(chunk)
            rest -= len(chunk)

        if not is_same or rest or digest.hexdigest() != file.sha256:
            raise PyindexError(
                f"{path}: not the content that the catalog has, with sha256 {file.sha256}; run"
                " `pyindex verify`, or bundle again when the file is complete"
            )


def _read(descriptor: int, size: int, path: Path) -> bytes:
    try:
        return os.read(descriptor, size)
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}; run `pyindex verify`") from None


def _publish(out: Path, outputs: list[_Output], manifest: Manifest, key: SecretKey | None) -> None:
    """Give complete volumes their names, with their signatures, and remove those of an earlier
    bundle of this name."""
    with Batch() as batch:
        for number, output in enumerate(outputs, 1):
            if key is not None:
                comment = f"pyindex bundle {manifest.id}, volume {number} of {len(outputs)}"
                content = key.sign(output.hash.digest(), comment)
                batch.write(f"{output.target}{SUFFIX}", content)

        for output in outputs:
            unlink(f"{output.target}{SUFFIX}")  # of other content
        for output in outputs:
            output.temporary.rename(output.target)
        if outputs[0].target != out:
            for path in list(volumes.surplus(out, len(outputs))):
                unlink(path)
    sync_paths([str(out.parent)])
