"""Have the programs of a host load the files that were placed, and record it.

A part is recorded after its programs have loaded the files: if loading fails or is interrupted, the
part stays pending, and the next play loads it again.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.errors import PyindexError
from appliance.host import rendered
from appliance.host.paths import HostPaths, locked
from appliance.host.state import PARTS, HostState, load, save
from appliance.host.switch import digests
from appliance.render import HostFile

Run = Callable[..., str]
_PROGRAMS = ("supervisorctl", "status", "pyindex:*")
_START_SECONDS = 20
NGINX_LOG = Path("/var/log/nginx/error.log")  # of both distributions


def run(*command: str, check: bool = True) -> str:
    """The output of a program. Raises PyindexError with the output if it fails."""
    try:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except FileNotFoundError:
        raise PyindexError(f"{command[0]}: command not found; run the whole play") from None
    if check and result.returncode:
        raise PyindexError(f"{' '.join(command)}: {result.stdout.strip()}")
    return result.stdout


def load_files(host: HostPaths, part: str, force: bool = False, run: Run = run) -> bool:
    """Have the programs of a part load its files if it is pending; with ``force``, in any case.

    Returns whether they did. Raises PyindexError if a program fails, or for an unknown part.
    """
    if part not in PARTS:
        raise PyindexError(f"unknown part {part!r}: expected {', '.join(PARTS)}")
    with locked(host):
        state = load(host)
        if part not in state.pending and not force:
            return False
        files = rendered.stored(host.release(state.current))
        _LOADERS[part](state, files, run)
        save(host, _loaded(state, files, part))
    return True


def _load_base(_state: HostState, _files: Sequence[HostFile], run: Run) -> None:
    run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/pyindex.conf")


def _load_nginx(_state: HostState, _files: Sequence[HostFile], run: Run) -> None:
    run("nginx", "-q", "-t")
    run("systemctl", "daemon-reload")
    before, log_size = _nginx_workers(run), _size(NGINX_LOG)
    try:
        run("systemctl", "reload-or-restart", "nginx.service")
    except PyindexError as error:
        journal = ("journalctl", "--unit", "nginx.service", "--lines", "8", "--output", "cat")
        raise PyindexError(f"{error}\n{run(*journal, check=False)}") from None
    if before:
        _await_reload(before, log_size, run)


def _await_reload(before: set[int], log_size: int, run: Run) -> None:
    """Wait for new workers of nginx: with files that it cannot use, it keeps the old ones, and no
    command says so."""
    deadline = time.monotonic() + _START_SECONDS
    while not _nginx_workers(run) - before:
        if time.monotonic() > deadline:
            text = _nginx_errors(log_size) or f"no new workers; read {NGINX_LOG}"
            raise PyindexError(f"nginx: not reloaded: {text}")
        time.sleep(0.1)


def _nginx_errors(start: int) -> str:
    """The errors in nginx's log from a position on; none if another one is set."""
    errors: dict[str, None] = {}
    with contextlib.suppress(FileNotFoundError), NGINX_LOG.open(errors="replace") as log:
        log.seek(start)
        errors |= dict.fromkeys(line.strip() for line in log if "[emerg]" in line)
    return "; ".join(errors)


def _nginx_workers(run: Run) -> set[int]:
    """The child processes of nginx's service; none if it does not run."""
    output = run("systemctl", "show", "--property=MainPID", "nginx.service", check=False)
    main = output.strip().removeprefix("MainPID=")
    return _children(main) if main.isdigit() and main != "0" else set()


def _children(parent: str) -> set[int]:
    """The child processes of a process, as proc(5) has them."""
    children = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended
            fields = path.read_text(errors="replace").rpartition(") ")[2].split()
            if fields[1] == parent:
                children.add(int(path.parent.name))
    return children


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _load_service(state: HostState, files: Sequence[HostFile], run: Run) -> None:
    is_supervised = rendered.manager(files) == "supervisor"
    run("systemctl", "daemon-reload")
    if is_supervised or any("/supervisor" in path for path in state.removed):
        _update_programs(run)
    if is_supervised:
        _restart_programs(run)
        return

    socket = rendered.socket_digest(files)
    if "" not in (socket, state.socket) and socket != state.socket:
        run("systemctl", "stop", "pyindex.service", "pyindex.socket")
    # Otherwise the socket stays open, and requests wait in it.
    run("systemctl", "restart", "pyindex.service")


def _update_programs(run: Run) -> None:
    output = run("supervisorctl", "reread")
    if "ERROR" in output or "refused" in output:
        raise PyindexError(f"supervisorctl reread: {output.strip()}")
    run("supervisorctl", "update")


def _restart_programs(run: Run) -> None:
    """Restart the programs. supervisorctl 3.4 always exits with 0: their status counts."""
    run("supervisorctl", "restart", "pyindex:*", check=False)
    deadline = time.monotonic() + _START_SECONDS
    while (status := run(*_PROGRAMS, check=False)).count("RUNNING") != 2:
        if time.monotonic() > deadline:
            text = f"supervisor: expected two running programs, got {status.strip()}"
            raise PyindexError(f"{text}; read /var/log/pyindex")
        time.sleep(1)


_LOADERS = {"base": _load_base, "service": _load_service, "nginx": _load_nginx}


def _loaded(state: HostState, files: Sequence[HostFile], part: str) -> HostState:
    """The state after the programs of a part have loaded its files."""
    if part == "service":
        state = state.changed(socket=rendered.socket_digest(files), removed=())
    return state.changed(loaded=state.loaded | {part: digests(state, files)[part]})
