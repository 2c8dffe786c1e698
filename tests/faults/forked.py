"""Starts ``pyindex`` commands by fork, from a process that has imported all of it already.

Most of the time of a short command goes into imports; hundreds of them are run here, under strace.
Run as ``python -m tests.faults.forked``; each request is one line of JSON on standard input, each
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
from typing import Any

import appliance
from appliance.cli import main


def _import_all() -> None:
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if module.name not in ("appliance.wsgi", "appliance.__main__"):
            importlib.import_module(module.name)
    for name in ("encodings.idna", "encodings.unicode_escape", "multiprocessing.forkserver"):
        importlib.import_module(name)


def start(
    argv: list[str], out: str, err: str, strace: list[str] | None
) -> tuple[int, subprocess.Popen[str] | None]:
    """Begin ``pyindex ARGV``, traced by ``strace`` with these options from its first call on."""
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        os.read(gate, 1)
        os.close(gate)
        _become(argv, out, err)
    os.close(gate)
    tracer = None if strace is None else _trace(pid, strace)
    os.close(opener)
    return pid, tracer


def _become(argv: list[str], out: str, err: str) -> None:
    """Be the command; ends as the console script does, through the interpreter's own end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    try:
        code = main(argv)
    except Exception:
        traceback.print_exc()
        code = 1
    raise SystemExit(code)


def _trace(pid: int, options: list[str]) -> subprocess.Popen[str]:
    command = ["strace", "-p", str(pid), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    for line in tracer.stderr:
        if "attached" in line:
            return tracer
    raise OSError(f"{command} did not attach")


def end(pid: int, tracer: subprocess.Popen[str] | None, seconds: float) -> int | None:
    """How the process ended, as Popen.returncode; ``None`` for one killed since it did not."""
    deadline, code = time.monotonic() + seconds, None
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    if tracer is not None:
        _stop(tracer)
    return code


def _stop(tracer: subprocess.Popen[str]) -> None:
    try:
        tracer.wait(10)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()
    assert tracer.stderr is not None
    tracer.stderr.close()


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
            found = answer(running, json.loads(line))
        except SystemExit:
            answers.close()
            raise
        except Exception:
            found = {"error": traceback.format_exc()}
        print(json.dumps(found), file=answers)


if __name__ == "__main__":
    serve()
