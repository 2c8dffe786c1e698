"""Change a host from one release and its files to another.

Each step leaves a host on which the same change, started again, completes. The record is written
before the first file is placed, with the paths of both releases, so that no file is forgotten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance import atomic
from appliance.host import rendered
from appliance.host.files import exists, is_placed, link, link_target, place
from appliance.host.paths import OPT, HostPaths
from appliance.host.state import PARTS, HostState, has_older_records, save
from appliance.render import HostFile

COMMAND = "/usr/local/bin/pyindex"


@dataclass(frozen=True)
class Change:
    """Result of a command: its changes on the host, and parts that programs have not loaded yet.

    Attributes:
        changed: Whether anything on the host is different.
        release: The release that is to run.
        previous: The release for a rollback; empty if there is none.
        manager: ``systemd`` or ``supervisor``.
        placed: Paths of files that were written.
        removed: Paths of files that were removed.
        units: Names of units among the removed files.
        pending: Parts whose programs have not loaded their files.
    """

    changed: bool
    release: str
    previous: str
    manager: str
    placed: list[str]
    removed: list[str]
    units: list[str]
    pending: list[str]


@dataclass(frozen=True)
class Plan:
    """A change that has not been made.

    Attributes:
        before: The state of the host.
        after: The state to be.
        files: All files of the release to be.
        different: Those that are not on the host, or not like this.
        obsolete: Paths of files on the host that the release to be does not have.
        is_switched: Whether another release is to run.
    """

    before: HostState
    after: HostState
    files: Sequence[HostFile]
    different: Sequence[HostFile]
    obsolete: Sequence[str]
    is_switched: bool


def plan(host: HostPaths, before: HostState, after: HostState, files: Sequence[HostFile]) -> Plan:
    """The plan for the releases of ``after`` and for ``files``; changes nothing."""
    different = [file for file in files if not is_placed(host, file)]
    paths = {file.path for file in files}
    obsolete = [path for path in before.placed if path not in paths and exists(host.of(path))]

    changed = {file.part for file in different} | {rendered.part_of(path) for path in obsolete}
    expected = digests(after, files).items()
    after = after.changed(
        loaded=dict(item for item in expected & before.loaded.items() if item[0] not in changed),
        placed=tuple(file.path for file in files),
        removed=tuple(dict.fromkeys((*before.removed, *obsolete))),
    )
    is_switched = link_target(host.opt / "current") != _target(after.current)
    return Plan(before, after, files, different, obsolete, is_switched)


def execute(host: HostPaths, plan: Plan) -> None:
    """Make a change. Raises PyindexError if the release to be is not installed."""
    _store_files(host, plan)
    both = dict.fromkeys((*plan.before.placed, *plan.after.placed))
    save(host, plan.after.changed(placed=tuple(both)))
    write_links(host, plan.after)

    for path in plan.obsolete:
        atomic.unlink(host.of(path))
    for file in plan.different:
        place(host, file)
    save(host, plan.after.changed(is_rolling_back=False))


def describe(plan: Plan) -> Change:
    """The change as commands print it."""
    return Change(
        changed=bool(plan.different or plan.obsolete or plan.is_switched),
        release=plan.after.current,
        previous=plan.after.previous,
        manager=rendered.manager(plan.files),
        placed=[file.path for file in plan.different],
        removed=list(plan.obsolete),
        units=[path.rpartition("/")[2] for path in plan.obsolete if _is_unit(path)],
        pending=plan.after.pending,
    )


def write_links(host: HostPaths, state: HostState) -> None:
    """Point the links at the releases of the state."""
    for name in ("previous", "latest", "current"):
        _link(host, f"{OPT}/{name}", _target(getattr(state, name)))
    _link(host, COMMAND, f"{OPT}/current/bin/pyindex")


def digests(state: HostState, files: Sequence[HostFile]) -> dict[str, str]:
    """The digest of each part's files. The service restarts for another release, too."""
    parts = {part: rendered.digest(files, part) for part in PARTS}
    return parts | {"service": f"{state.current}:{parts['service']}"}


def _store_files(host: HostPaths, plan: Plan) -> None:
    """Store the files with the release, and those of an older play with the release before."""
    rendered.store(host.release(plan.after.current), plan.files)
    if plan.before.current in ("", plan.after.current):
        return
    release = host.releases / plan.before.current
    if has_older_records(host) and release.is_dir():
        rendered.store(release, rendered.read_placed(host, plan.before.placed))


def _link(host: HostPaths, path: str, target: str) -> None:
    if link_target(host.of(path)) != target:
        atomic.make_directory(host.of(path).parent)
        link(host.of(path), target)


def _target(release: str) -> str:
    return f"{OPT}/releases/{release}" if release else ""


def _is_unit(path: str) -> bool:
    return path.startswith("/etc/systemd/system/pyindex")
