"""The commands that change a host: apply, roll back, prune."""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance import atomic
from appliance.errors import PyindexError
from appliance.host import rendered, switch
from appliance.host.files import delete_tree
from appliance.host.paths import HostPaths, locked
from appliance.host.state import HostState, Switched, load, save
from appliance.host.switch import Change

_PYTHON = re.compile("python-[0-9a-f]{12}")  # as the role python calls them


@dataclass(frozen=True)
class Pruned:
    """Names of the releases that were deleted, and of the Pythons that only they ran with."""

    changed: bool
    removed: list[str]


def apply(host: HostPaths, rendered_files: Path, release: str, dry_run: bool = False) -> Change:
    """Place the files of a directory, as ``pyindex render`` made it, and switch to a release.

    With ``dry_run``, changes nothing and returns what would change. Raises PyindexError if the
    release is not installed or a file is damaged, and SpecError for an invalid spec.
    """
    host.release(release)
    files = rendered.read_rendered(rendered_files)
    with locked(host):
        before = load(host)
        plan = switch.plan(host, before, _switched(before, release), files)
        if not dry_run:
            switch.execute(host, plan)
    return switch.describe(plan)


def rollback(host: HostPaths, failed: bool = False, dry_run: bool = False) -> Change:
    """Switch to the previous release and its files; the present one is then the previous one.

    With ``failed``, undo the last switch, which no verification install has confirmed: the
    previous release is then the one from before it. With ``dry_run``, changes nothing. Raises
    PyindexError if there is no such release.
    """
    with locked(host):
        before = load(host)
        after = _rolled_back(host, before, failed)
        files = rendered.stored(host.release(after.current))
        plan = switch.plan(host, before, after, files)
        if not dry_run:
            switch.execute(host, plan)
    return switch.describe(plan)


def prune(host: HostPaths, keep: int) -> Pruned:
    """Accept the running release, and delete the oldest releases beyond ``keep``.

    The releases that are linked to are never deleted, even if they are more.
    """
    with locked(host):
        state = load(host)
        linked = {state.current, state.previous} - {""}
        others = [name for name in host.installed() if name not in linked | {state.latest}]
        removed = others[max(keep - len(linked), 0) :]
        save(host, state.changed(undo=None))
        for name in removed:
            _delete(host.releases / name)
        pythons = _unused_pythons(host)
        for python in pythons:
            _delete(python)
    names = [*removed, *(python.name for python in pythons)]
    return Pruned(bool(names), names)


def _switched(state: HostState, release: str) -> HostState:
    """The state after a switch to a release."""
    state = state.changed(latest=release, is_rolling_back=False)
    if release == state.current:
        return state
    undo = Switched(current=state.current, previous=state.previous) if state.current else None
    return state.changed(current=release, previous=state.current, undo=undo)


def _rolled_back(host: HostPaths, state: HostState, failed: bool) -> HostState:
    """The state after a rollback; an interrupted one is resumed, whatever its kind."""
    if state.is_rolling_back:
        return state
    if failed and state.undo is None:
        raise PyindexError(f"{host.opt}: no switch of releases to undo")
    if not failed and state.previous in ("", state.current):
        raise PyindexError(f"{host.opt}: no release before {state.current or 'the first'}")

    releases = {"current": state.previous, "previous": state.current}
    if failed and state.undo:
        releases = dict(state.undo)
    return state.changed(**releases, undo=None, is_rolling_back=True)


def _unused_pythons(host: HostPaths) -> list[Path]:
    """Directories of Pythons that the play has unpacked, with which no release runs."""
    files = [host.releases / name / "pyvenv.cfg" for name in host.installed()]
    used = "".join(file.read_text() for file in files if file.exists())
    pythons = [path for path in sorted(host.opt.glob("python-*")) if _PYTHON.fullmatch(path.name)]
    return [path for path in pythons if f"/{path.name}/" not in used]


def _delete(directory: Path) -> None:
    """Delete a release or a Python; incomplete from the first moment, so that no play uses what
    remains."""
    atomic.unlink(directory / "complete")
    delete_tree(directory)
