"""The staging directory of a load: a hidden directory in the packages directory, on the same file
system. A load that was interrupted continues with what is complete in it."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance import atomic
from appliance.bundle.manifest import BundledFile
from appliance.bundle.source import Source
from appliance.catalog.metadata import KeptMetadata
from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.examine import examine_all
from appliance.incoming.outcomes import Accepted
from appliance.index.model import File, Rejection
from appliance.operations.arrival import STAGING

_NANOSECONDS_PER_MICROSECOND = 1000
_DIGITS = 16
_SHOWN = 10


class Staging:
    """The staging directory of one bundle; ``path`` is absolute."""

    def __init__(self, directory: PackagesDirectory, bundle: str) -> None:
        self._root = directory.root
        self.path = directory.root / f"{STAGING}{bundle[:_DIGITS]}"

    def fill(self, source: Source, files: Sequence[BundledFile]) -> Iterator[int]:
        """Stage the files durably; yields the bytes so far after each. Raises
        :class:`PyindexError` for one that is not as the manifest says, and ``OSError``."""
        self._remove_others()
        self._check_space(files)
        done = 0
        for file in files:
            target = self.path / file.path
            atomic.make_directory(target.parent)
            if not _is_complete(target, file):
                self._stage(source, file, target)
            for ending, content in file.companions.items():
                Path(f"{target}{ending}").write_bytes(content)
            done += file.size
            yield done
        if files:
            atomic.sync(self.path)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def examine(
        self, index: str, state: Path, files: Sequence[BundledFile], name: str
    ) -> list[File]:
        """Examine the staged files as intake does; return them as the index will have them, with
        their metadata kept. Raises :class:`PyindexError` if any is rejected."""
        directory, kept = PackagesDirectory(self.path), KeptMetadata(state)
        entries = [self._entry(directory, file) for file in files]
        with kept.batch() as batch:

            def keep(file: File, metadata: bytes | None) -> None:
                if metadata is not None:
                    kept.write(batch, index, file.path, metadata)

            with examine_all(directory, entries, keep) as outcomes:
                found = list(outcomes)

        rejected = [each for each in found if isinstance(each, Rejection)]
        if rejected:
            shown = "; ".join(f"{each.path}: {each.reason}" for each in rejected[:_SHOWN])
            more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
            raise PyindexError(f"{name}: files would be rejected: {shown}{more}")
        accepted = [each.file for each in found if isinstance(each, Accepted)]
        if len(accepted) != len(files):
            raise PyindexError(f"{self.path}: changed while its files were examined; load again")
        return accepted

    def forget(self, index: str, state: Path, files: Sequence[BundledFile]) -> None:
        """Remove the kept metadata of files that will not arrive."""
        kept = KeptMetadata(state)
        for file in files:
            kept.remove(index, file.path)
            kept.prune(index, file.path)

    def _entry(self, directory: PackagesDirectory, file: BundledFile) -> Entry:
        entry = directory.entry(file.path)
        if entry is None:
            raise PyindexError(f"{self.path}/{file.path}: disappeared; load again")
        return entry

    def _stage(self, source: Source, file: BundledFile, target: Path) -> None:
        """Copy one file, and set its mtime to the upload time, from which intake takes it."""
        atomic.unlink(target)
        descriptor = atomic.create(str(target))
        try:
            digest = source.copy(file, descriptor)
            if digest != file.sha256:
                raise PyindexError(
                    f"{source.name}: {file.path}: not the content that the manifest has, with"
                    f" sha256 {file.sha256}; copy the bundle again"
                )
            os.fchmod(descriptor, 0o644)
            nanoseconds = file.upload_time * _NANOSECONDS_PER_MICROSECOND
            os.utime(descriptor, ns=(nanoseconds, nanoseconds))
        finally:
            os.close(descriptor)

    def _remove_others(self) -> None:
        """Remove what interrupted loads of other bundles have staged."""
        for path in self._root.glob(f"{STAGING}*"):
            if path != self.path:
                shutil.rmtree(path, ignore_errors=True)

    def _check_space(self, files: Sequence[BundledFile]) -> None:
        needed = sum(file.size for file in files if not (self.path / file.path).exists())
        free = shutil.disk_usage(self._root).free
        if needed > free:
            raise PyindexError(
                f"{self._root}: only {free >> 20} MB free, {(needed >> 20) + 1} MB required; free"
                " some disk space"
            )


def _is_complete(path: Path, file: BundledFile) -> bool:
    """Return whether an earlier load has staged a file in full."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if status.st_size != file.size or status.st_mtime_ns != file.upload_time * 1000:
        return False
    with path.open("rb") as staged:
        return hashlib.file_digest(staged, "sha256").hexdigest() == file.sha256
