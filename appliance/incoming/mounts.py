"""Mount points of a packages directory: files on an unmounted disk were not deleted."""

import json
import re
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance.atomic import Batch, make_directory
from appliance.incoming.directory import PackagesDirectory
from appliance.spec import Spec

_MOUNTS = Path("/proc/self/mountinfo")  # Linux only


@dataclass(frozen=True)
class _Record:
    """Mount points at the last scan of a packages directory.

    Attributes:
        root: The path of the directory in the spec.
        identity: Its device and inode; empty before the first scan.
        mounts: The file systems mounted at and below it, by path, ``""`` for the directory itself.
        covered: The paths at which a mounted file system hides files in the catalog.
    """

    root: str
    identity: list[int] = field(default_factory=list)
    mounts: dict[str, str] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)


class Mounts:
    """Mount points at and below the packages directory of an index when it was last scanned. They
    are recorded in ``<state>/places``."""

    def __init__(self, spec: Spec, index: str, directory: PackagesDirectory) -> None:
        self._file = spec.state / "places" / f"{index}.json"
        self._directory = directory
        self._record: _Record | None = None
        self._status: tuple[int, int] | None = None  # of the file when it was read

    def missing(self) -> list[str]:
        """Return the paths of missing disks: former mount points where no file system is mounted
        now, or an empty one. ``""`` is the packages directory itself."""
        before, now = self._load(), mounts_below(self._directory.root)
        missing = [
            path
            for path, mount in before.mounts.items()
            if path not in now or (now[path] != mount and self._is_empty(path))
        ]
        is_other = before.identity not in ([], list(self._directory.identity()))
        if "" not in missing and is_other and self._is_empty(""):
            missing.append("")
        return missing

    def covered(self) -> list[str]:
        """Return the paths at which a mounted file system hides files in the catalog."""
        now = mounts_below(self._directory.root)
        return [path for path in self._load().covered if path in now]

    def record_new(self, has_files: Callable[[str], bool]) -> set[str]:
        """Record new mount points, before files on them are accepted, and whether they hide files;
        return the paths at which no file system is mounted any more."""
        before, now = self._load(), mounts_below(self._directory.root)
        new = now.keys() - before.mounts.keys() if before.identity else set()
        covered = {*self.covered(), *(path for path in new if has_files(path))}
        self._save(replace(before, mounts=now | before.mounts, covered=sorted(covered)))
        return before.mounts.keys() - now.keys()

    def record_all(self, missing: Set[str], forgotten: Set[str], covered: Sequence[str]) -> None:
        """Record the present mount points at the end of a scan.

        Those at the paths ``missing`` stay recorded; those at ``forgotten`` do not, unless they are
        mounted again; those at ``covered`` still hide files."""
        before, now = self._load(), mounts_below(self._directory.root)
        mounts = {path: mount for path, mount in before.mounts.items() if path not in forgotten}
        mounts |= {path: mount for path, mount in now.items() if path not in missing}
        identity = before.identity if "" in missing else list(self._directory.identity())
        self._save(_Record(str(self._directory.spec_path), identity, mounts, list(covered)))

    def _is_empty(self, path: str) -> bool:
        try:
            return self._directory.is_empty(path)
        except OSError:
            return False

    # --- the file ------------------------------------------------------------------------------

    def _save(self, record: _Record) -> None:
        if record == self._load() and self._file_status() is not None:
            return
        make_directory(self._file.parent)
        with Batch() as batch:
            batch.write(self._file, json.dumps(asdict(record)).encode())
        self._record, self._status = record, self._file_status()

    def _load(self) -> _Record:
        status = self._file_status()
        # Another process may have written it; if it was removed, the record in memory holds.
        if self._record is None or status not in (None, self._status):
            self._record, self._status = self._read(), status
        return self._record

    def _read(self) -> _Record:
        """Read the file; return an empty record if it is damaged or about another directory."""
        # A symbolic link with a new target is another directory at the same path.
        roots = [str(self._directory.spec_path), str(self._directory.root)]
        try:
            record = _parse(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _Record(roots[0])
        return record if record.root in roots else _Record(roots[0])

    def _file_status(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def mounts_below(root: Path) -> dict[str, str]:
    """Return the file systems mounted at and below ``root``, by path relative to it: the device and
    the mounted directory of it (proc_pid_mountinfo(5)).

    No file system is accessed, since one may hang."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return {}

    mounts = {}
    for line in lines:
        device, top, escaped = line.split(b" ")[2:5]
        path = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), escaped)
        mount = Path(path.decode("utf-8", "surrogateescape"))
        if mount.is_relative_to(root):
            name = mount.relative_to(root).as_posix()
            mounts["" if name == "." else name] = (
                f"{device.decode()} {top.decode(errors='replace')}"
            )
    return mounts


def _parse(fields: Any) -> _Record:
    return _Record(
        root=str(fields["root"]),
        identity=[int(number) for number in fields["identity"]],
        mounts={str(path): str(mount) for path, mount in fields["mounts"].items()},
        covered=[str(path) for path in fields.get("covered", ())],
    )
