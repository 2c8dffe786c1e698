"""The disks that a packages directory was on: what was on one that is away was not deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.index.folder import Folder
from appliance.index.store import Batch, make_directory
from appliance.spec import Spec

Place = tuple[int, int]  # device and inode


@dataclass(frozen=True)
class _Memory:
    """``places`` are the mount points by path, ``""`` for the packages directory, which is in any
    case; ``mounted`` says whether that is one."""

    mounted: bool = False
    places: dict[str, Place] = field(default_factory=dict)


class Places:
    """The packages directory of an index and the mount points below it, as they were when it was
    last scanned in full. They are kept in ``<state>/places``."""

    def __init__(self, spec: Spec, index: str, folder: Folder) -> None:
        self._file = spec.state / "places" / f"{index}.json"
        self._folder = folder
        self._memory: _Memory | None = None

    def missing(self) -> list[str]:
        """The directories on which there was a disk that is not there: they are no mount points
        now, or others with nothing in them. ``""`` is the packages directory itself."""
        memory = self._known()
        return [path for path in memory.places if self._is_missing(memory, path)]

    def remember(self, mounts: Mapping[str, Place], missing: Sequence[str] = ()) -> None:
        """Remember the packages directory as it is now, with the mount points below it; those that
        are ``missing`` as they were."""
        before = self._known()
        places = {"": self._folder.identity(), **mounts}
        places |= {path: before.places[path] for path in missing}
        mounted = before.mounted if "" in missing else self._folder.root.is_mount()
        memory = _Memory(mounted, places)
        if memory == before:
            return
        make_directory(self._file.parent)
        content = {"root": str(self._folder.root), "mounted": memory.mounted, "places": places}
        with Batch() as batch:
            batch.write(self._file, json.dumps(content).encode())
        self._memory = memory

    def _known(self) -> _Memory:
        if self._memory is None:
            try:
                self._memory = _parse(json.loads(self._file.read_bytes()), str(self._folder.root))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                self._memory = _Memory()  # nothing was remembered, or nothing that can be read
        return self._memory

    def _is_missing(self, memory: _Memory, path: str) -> bool:
        place = self._folder.root / path
        try:
            status = place.stat()
            if path and status.st_dev == place.parent.stat().st_dev:
                return True
            if not path and memory.mounted and not place.is_mount():
                return True
            is_other = (status.st_dev, status.st_ino) != memory.places[path]
            return is_other and self._folder.is_bare(path)
        except OSError:
            return path != ""  # whoever scans the folder itself sees that it is gone


def _parse(found: Any, root: str) -> _Memory:
    """What was remembered of ``root``; nothing if that was another directory."""
    if found["root"] != root:
        return _Memory()
    places = {str(path): (int(place[0]), int(place[1])) for path, place in found["places"].items()}
    return _Memory(bool(found["mounted"]), places)
