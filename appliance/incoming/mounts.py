"""The disks that a packages directory was on: what was on one that is away was not deleted."""

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
class _Remembered:
    """What was mounted when a packages directory was last scanned.

    Attributes:
        root: Its path as the spec has it.
        identity: Its device and inode; empty before the first scan.
        mounts: What was mounted at and below it, by path, ``""`` for the directory itself.
        covered: Those of these paths over whose files something was mounted.
    """

    root: str
    identity: list[int] = field(default_factory=list)
    mounts: dict[str, str] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)


class Mounts:
    """The mount points at and below the packages directory of an index, as they were when it was
    last scanned in full. They are remembered in ``<state>/places``."""

    def __init__(self, spec: Spec, index: str, directory: PackagesDirectory) -> None:
        self._file = spec.state / "places" / f"{index}.json"
        self._directory = directory
        self._remembered: _Remembered | None = None
        self._read: tuple[int, int] | None = None  # the file that this was read from

    def missing(self) -> list[str]:
        """The directories on which there was a disk that is not there: they are no mount points
        now, or others with nothing in them. ``""`` is the packages directory itself."""
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
        """The directories over which something is mounted that hides files of ours."""
        now = mounts_below(self._directory.root)
        return [path for path in self._load().covered if path in now]

    def note(self, has_files: Callable[[str], bool]) -> set[str]:
        """Remember what is mounted now, beside all that was, as files on it are about to be
        accepted; and of what is new whether it hides files that were there. Returns where nothing
        is mounted any more."""
        before, now = self._load(), mounts_below(self._directory.root)
        new = now.keys() - before.mounts.keys() if before.identity else set()
        covered = {*self.covered(), *(path for path in new if has_files(path))}
        self._save(replace(before, mounts=now | before.mounts, covered=sorted(covered)))
        return before.mounts.keys() - now.keys()

    def remember(self, missing: Set[str], forgotten: Set[str], covered: Sequence[str]) -> None:
        """Remember the packages directory as it is now, with what is mounted below it. What is
        ``missing`` stays as it was; what is ``forgotten`` is not, unless it is back; the paths
        ``covered`` still hide something."""
        before, now = self._load(), mounts_below(self._directory.root)
        mounts = {path: mount for path, mount in before.mounts.items() if path not in forgotten}
        mounts |= {path: mount for path, mount in now.items() if path not in missing}
        identity = before.identity if "" in missing else list(self._directory.identity())
        self._save(_Remembered(str(self._directory.given), identity, mounts, list(covered)))

    def _is_empty(self, path: str) -> bool:
        try:
            return self._directory.is_empty(path)
        except OSError:
            return False

    # --- the file ------------------------------------------------------------------------------

    def _save(self, remembered: _Remembered) -> None:
        if remembered == self._load() and self._status() is not None:
            return
        make_directory(self._file.parent)
        with Batch() as batch:
            batch.write(self._file, json.dumps(asdict(remembered)).encode())
        self._remembered, self._read = remembered, self._status()

    def _load(self) -> _Remembered:
        status = self._status()
        # Another process may have written it; if it was removed, we know better.
        if self._remembered is None or status not in (None, self._read):
            self._remembered, self._read = self._parsed(), status
        return self._remembered

    def _parsed(self) -> _Remembered:
        """What the file says, if it can be read, and is of this directory."""
        # A link that is turned is another directory in the same place.
        roots = [str(self._directory.given), str(self._directory.root)]
        try:
            remembered = _parse(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _Remembered(roots[0])
        return remembered if remembered.root in roots else _Remembered(roots[0])

    def _status(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def mounts_below(root: Path) -> dict[str, str]:
    """What is mounted at ``root`` and below it, by the path from there: device and the directory of
    it that is seen (proc_pid_mountinfo(5)). No file system is asked, since one may hang."""
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


def _parse(fields: Any) -> _Remembered:
    return _Remembered(
        root=str(fields["root"]),
        identity=[int(number) for number in fields["identity"]],
        mounts={str(path): str(mount) for path, mount in fields["mounts"].items()},
        covered=[str(path) for path in fields.get("covered", ())],
    )
