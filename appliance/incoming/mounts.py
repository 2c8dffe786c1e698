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
class _Memory:
    """``identity`` is of the packages directory; ``mounts`` has what was mounted at and below it,
    by path, ``""`` for the directory itself; ``covered`` are those of the places over whose files
    something was mounted."""

    root: str
    identity: list[int] = field(default_factory=list)
    mounts: dict[str, str] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)


class KnownMounts:
    """The packages directory of an index and the mount points below it, as they were when it was
    last scanned in full. They are kept in ``<state>/places``."""

    def __init__(self, spec: Spec, index: str, directory: PackagesDirectory) -> None:
        self._file = spec.state / "places" / f"{index}.json"
        self._directory = directory
        self._memory: _Memory | None = None
        self._read: tuple[int, int] | None = None  # the file that the memory is of

    def missing(self) -> list[str]:
        """The directories on which there was a disk that is not there: they are no mount points
        now, or others with nothing in them. ``""`` is the packages directory itself."""
        before, now = self._known(), mounts_below(self._directory.root)
        found = [
            path
            for path, mount in before.mounts.items()
            if path not in now or (now[path] != mount and self._is_empty(path))
        ]
        is_other = before.identity not in ([], list(self._directory.identity()))
        if "" not in found and is_other and self._is_empty(""):
            found.append("")
        return found

    def covered(self) -> list[str]:
        """The directories over which something is mounted that hides files of ours."""
        now = mounts_below(self._directory.root)
        return [path for path in self._known().covered if path in now]

    def note(self, has_files: Callable[[str], bool]) -> set[str]:
        """Remember what is mounted now, beside all that was, as files on it are about to come in,
        and of what is new whether files were there that it hides now; returns where nothing is
        mounted any more."""
        before, mounts = self._known(), mounts_below(self._directory.root)
        new = mounts.keys() - before.mounts.keys() if before.identity else set()
        covered = {*self.covered(), *(path for path in new if has_files(path))}
        self._write(replace(before, mounts=mounts | before.mounts, covered=sorted(covered)))
        return before.mounts.keys() - mounts.keys()

    def remember(self, missing: Set[str], gone: Set[str], hiding: Sequence[str]) -> None:
        """Remember the packages directory as it is now, with what is mounted below it; what is
        ``missing`` stays as it was, what is ``gone`` is forgotten unless it is back; ``hiding`` are
        the places that cover something still."""
        before, now = self._known(), mounts_below(self._directory.root)
        kept = {path: mount for path, mount in before.mounts.items() if path not in gone}
        mounts = kept | {path: mount for path, mount in now.items() if path not in missing}
        identity = before.identity if "" in missing else list(self._directory.identity())
        self._write(_Memory(str(self._directory.given), identity, mounts, list(hiding)))

    def _write(self, memory: _Memory) -> None:
        if memory == self._known() and self._written() is not None:
            return
        make_directory(self._file.parent)
        with Batch() as batch:
            batch.write(self._file, json.dumps(asdict(memory)).encode())
        self._memory, self._read = memory, self._written()

    def _written(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _known(self) -> _Memory:
        written = self._written()
        # Another process may have written it; if somebody removed it, we know better.
        if self._memory is None or written not in (None, self._read):
            self._read = written
            # A link that is turned is another directory in the same place.
            roots = [str(self._directory.given), str(self._directory.root)]
            self._memory = _Memory(roots[0])
            try:
                found = _parse(json.loads(self._file.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                pass  # nothing was remembered, or nothing that can be read
            else:
                if found.root in roots:  # or it was another directory
                    self._memory = found
        return self._memory

    def _is_empty(self, path: str) -> bool:
        try:
            return self._directory.is_empty(path)
        except OSError:
            return False


def mounts_below(root: Path) -> dict[str, str]:
    """What is mounted at ``root`` and below it, by the path from there: device and the directory of
    it that is seen (proc_pid_mountinfo(5)). No file system is asked, since one may hang."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        device, top, place = line.split(b" ")[2:5]
        path = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), place)
        mount = Path(path.decode("utf-8", "surrogateescape"))
        if mount.is_relative_to(root):
            name = mount.relative_to(root).as_posix()
            found["" if name == "." else name] = f"{device.decode()} {top.decode(errors='replace')}"
    return found


def _parse(found: Any) -> _Memory:
    return _Memory(
        root=str(found["root"]),
        identity=[int(number) for number in found["identity"]],
        mounts={str(path): str(mount) for path, mount in found["mounts"].items()},
        covered=[str(path) for path in found.get("covered", ())],
    )
