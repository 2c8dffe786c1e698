"""Remove the appliance from a host."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.host.files import delete_tree, exists, link_target
from appliance.host.paths import OPT, HostPaths, locked
from appliance.host.state import OLDER_RECORDS, load
from appliance.host.switch import COMMAND

CREATED = f"{OPT}/made"
_CACHES = ("/var/cache/pyindex-debs", "/var/cache/pyindex-rpms", "/run/pyindex")
_LOGS = ("access", "error", "pyindex-server", "pyindex-watch")
_SHARED_DIRECTORIES = (
    "/etc/systemd/system/nginx.service.d",
    f"{OPT}/releases",
    OPT,
    "/etc/pyindex/client",
    "/etc/pyindex/tls",
    "/etc/pyindex",
    "/var/log/pyindex",
)


@dataclass(frozen=True)
class Removal:
    """Result of a removal: paths that were removed, and paths that remain.

    Attributes:
        removed: Paths that were removed.
        remaining: Paths that were not, with the reasons.
    """

    removed: list[str] = field(default_factory=list)
    remaining: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.removed)


def remove(host: HostPaths, data: Sequence[str] = (), dry_run: bool = False) -> Removal:
    """Remove placed files, releases, logs and records, and the directories ``data``.

    Files of other programs stay, and so do directories of ``data`` that no play has created. With
    ``dry_run``, removes nothing. Stop the services before.
    """
    removal = Removal()
    with locked(host) if host.opt.is_dir() else contextlib.nullcontext():
        _remove_data(host, data, removal, dry_run)
        # Releases come last: one of them runs this.
        for path in dict.fromkeys((*_placed(host), *_records(host), *_programs(host))):
            _remove(host, path, removal, dry_run)
        for path in () if dry_run else _SHARED_DIRECTORIES:
            _remove_empty(host, path, removal)
    return removal


def _remove_data(host: HostPaths, data: Sequence[str], removal: Removal, dry_run: bool) -> None:
    created = _lines(host.of(CREATED))
    for path in data:
        if path in created:
            _remove(host, path, removal, dry_run)
        elif exists(host.of(path)):
            removal.remaining[path] = "not created by a play"


def _placed(host: HostPaths) -> Iterator[str]:
    """Placed files, and the link to the command if it is the play's."""
    yield from load(host).placed
    if link_target(host.of(COMMAND)) == f"{OPT}/current/bin/pyindex":
        yield COMMAND


def _records(host: HostPaths) -> Iterator[str]:
    """Caches, logs and records of plays."""
    yield from _CACHES
    for log in _LOGS:
        for path in sorted(host.of("/var/log/pyindex").glob(f"{log}.log*")):
            yield f"/var/log/pyindex/{path.name}"
    yield from OLDER_RECORDS
    for name in ("rendered", "restored.sqlite", "made", "host.json"):
        yield f"{OPT}/{name}"


def _programs(host: HostPaths) -> Iterator[str]:
    """Releases with the links to them, and the Pythons that plays unpacked."""
    for name in ("current", "previous", "latest"):
        yield f"{OPT}/{name}"
    for path in sorted(host.opt.glob("python-" + 12 * "[0-9a-f]")):
        yield f"{OPT}/{path.name}"
    for name in host.release_names():
        yield f"{OPT}/releases/{name}"


def _remove(host: HostPaths, path: str, removal: Removal, dry_run: bool) -> None:
    if not exists(host.of(path)):
        return
    if not dry_run:
        delete_tree(host.of(path))
    removal.removed.append(path)


def _remove_empty(host: HostPaths, path: str, removal: Removal) -> None:
    directory = host.of(path)
    if not directory.is_dir() or directory.is_symlink():
        return
    try:
        directory.rmdir()
    except OSError:
        removal.remaining[path] = "contains files of other programs"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
