"""What is done once a day, and the free disk space that it finds: problems long before they hurt.

``pyindex backup`` and ``pyindex gc`` record their time in ``<state>/housekeeping.json``, and gc the
free space of each disk. Health reads only that file, as a network disk may not respond.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from appliance.atomic import Batch
from appliance.spec import Spec

_DAY = 86_400
_OVERDUE_DAYS = 3  # a host that is switched off at weekends has no problem
_NOTICE_DAYS = 30
_SAMPLES, _LEAST_DAYS = 30, 7
_LOGS = Path("/var/log/pyindex")
_JOB = {"systemd": "journalctl -u pyindex-backup", "supervisor": "root's mail from cron"}


@dataclass(frozen=True)
class _Record:
    """Times in seconds since the epoch: of the first start, of the last ``backup`` and ``gc``.
    ``free`` has bytes of free space by path, each with its time, oldest first."""

    since: float = 0.0
    backup: float = 0.0
    gc: float = 0.0
    free: dict[str, list[tuple[float, int]]] = field(default_factory=dict)


def begin(spec: Spec) -> None:
    """Record the time of the first start, unless there is a record."""
    if not _path(spec).exists():
        _write(spec, _Record())


def record_backup(spec: Spec) -> None:
    """Record that a backup was made."""
    _write(spec, replace(_read(spec), backup=time.time()))


def record_gc(spec: Spec) -> None:
    """Record that old data was deleted, and the free space of each disk."""
    record, now = _read(spec), time.time()
    free = {}
    for path, size in _disks(spec):
        # The clock may have been set back: what is from the future says nothing.
        past = [each for each in record.free.get(path, []) if each[0] <= now]
        free[path] = [*past, (now, size)][-_SAMPLES:]
    _write(spec, replace(record, gc=now, free=free))


def housekeeping_problems(spec: Spec) -> Iterator[str]:
    """Yield a problem for each daily job of a host that has not succeeded for days, and for each
    disk that is full within 30 days at the pace of the past days."""
    record, now = _read(spec), time.time()
    if spec.host.system is not None and record != _Record():
        for name, last in (("backup", record.backup), ("gc", record.gc)):
            # Also one from the future: the clock was set back, and no job has succeeded since.
            if abs(now - (last or record.since)) > _OVERDUE_DAYS * _DAY:
                since = (
                    f"since {time.strftime('%Y-%m-%d', time.localtime(last))}" if last else "yet"
                )
                yield f"no `pyindex {name}` succeeded {since}; read {_JOB[spec.server.manager]}"
    for path, samples in record.free.items():
        yield from _projected(path, samples)


def _projected(path: str, samples: list[tuple[float, int]]) -> Iterator[str]:
    (first, before), (last, free) = samples[0], samples[-1]
    days = (last - first) / _DAY
    if days < _LEAST_DAYS or free >= before:
        return
    left = free / ((before - free) / days)
    if left < _NOTICE_DAYS:
        yield (
            f"{path}: {free / 1e9:.1f} GB free, full in about {left:.0f} days at the pace of the"
            f" last {days:.0f} days; delete files or enlarge the disk"
        )


def _disks(spec: Spec) -> Iterator[tuple[str, int]]:
    """Yield a path on each disk that the spec uses, with its free bytes."""
    packages = (index.packages for index in spec.indexes.values())
    seen = set()
    for path in (spec.state, *packages, spec.backup.directory, _LOGS):
        with contextlib.suppress(OSError):
            device, space = path.stat().st_dev, os.statvfs(path)
            if device not in seen:
                seen.add(device)
                yield str(path), space.f_bavail * space.f_frsize


def _path(spec: Spec) -> Path:
    return spec.state / "housekeeping.json"


def _read(spec: Spec) -> _Record:
    """Return the record; an empty one if none can be read."""
    try:
        fields = json.loads(_path(spec).read_bytes())
        free = {
            str(path): [(float(at), int(size)) for at, size in samples]
            for path, samples in fields["free"].items()
            if samples
        }
        since, backup, gc = (float(fields[name]) for name in ("since", "backup", "gc"))
        for at in (since, backup, gc, *(at for samples in free.values() for at, _ in samples)):
            time.localtime(at)  # raises for what is no time
        return _Record(since, backup, gc, free)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Record()
    except (OverflowError, RecursionError):  # numbers or nesting without limit
        return _Record()


def _write(spec: Spec, record: _Record) -> None:
    """Replace the record. Where that is not possible, health finds the old one."""
    record = replace(record, since=record.since or time.time())
    with contextlib.suppress(OSError), Batch() as batch:
        batch.write(_path(spec), json.dumps(asdict(record)).encode())
