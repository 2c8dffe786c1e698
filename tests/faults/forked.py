"""Server that starts ``pyindex`` commands by fork, after it has imported all modules.

Imports take most of the time of a short command, and tests run hundreds of them under strace.
Run as ``python -m tests.faults.forked``; each request is a line of JSON on standard input, each
answer one on standard output.
"""

import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from typing import Any

import appliance
from appliance.cli import main
from tests.faults.commands import attach, detach


def _import_all() -> None:
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if module.name not in ("appliance.wsgi", "appliance.__main__"):
            importlib.import_module(module.name)
    for name in ("encodings.idna", "encodings.unicode_escape", "multiprocessing.forkserver"):
        importlib.import_module(name)


def start(
    argv: list[str], out: str, err: str, strace: list[str] | None
) -> tuple[int, subprocess.Popen[bytes] | None]:
    """Start ``pyindex ARGV``, traced by ``strace`` with these options from its first call on."""
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        _redirect(out, err)  # before it is traced: no call of these fails
        os.read(gate, 1)
        os.close(gate)
        _become(argv)
    os.close(gate)
    try:
        return pid, None if strace is None else attach([pid], strace)
    finally:
        os.close(opener)


def _redirect(out: str, err: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)


def _become(argv: list[str]) -> None:
    """Become the command, and end as its console script does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.collect()  # so that collections do not depend on earlier commands
    try:
        code = main(argv)
    except Exception:
        traceback.print_exc()
        code = 1
    raise SystemExit(code)


def end(pid: int, tracer: subprocess.Popen[bytes] | None, seconds: float) -> int | None:
    """Return the exit status as Popen.returncode, or ``None`` if killed after a timeout."""
    deadline, code = time.monotonic() + seconds, None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > deadline:
            if tracer is not None:
                tracer.kill()  # no traced process ends without its tracer
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    if tracer is not None:
        with suppress(subprocess.TimeoutExpired):
            tracer.wait(10)  # strace ends after the traced process and its own output
        detach(tracer)
    return code


def answer(requests: dict[int, Any], request: dict[str, Any]) -> Any:
    if request["do"] == "start":
        pid, tracer = start(request["argv"], request["out"], request["err"], request["strace"])
        requests[pid] = tracer
        return pid
    return end(request["pid"], requests.pop(request["pid"]), request["seconds"])


def serve() -> None:
    _import_all()
    gc.freeze()
    running: dict[int, Any] = {}
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.set_inheritable(answers.fileno(), False)
    for line in sys.stdin:
        try:
            reply = answer(running, json.loads(line))
        except SystemExit:
            answers.close()
            raise
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=answers)


if __name__ == "__main__":
    serve()
