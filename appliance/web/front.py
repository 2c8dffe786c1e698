"""nginx in front of the server, as ``pyindex serve`` runs it: as its own user, without root."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance.errors import PyindexError
from appliance.render import FrontValues, front
from appliance.spec import Spec
from appliance.web.child import Child

SYSTEM_PROGRAMS = "/usr/sbin"
"""Where nginx lies if it is not in the path of users."""

_PREFIX = "pyindex-serve-"
_SOCKET = "pyindex.sock"
_OLDEST = (1, 18)
_HAS_ERROR_OPTION = (1, 19, 5)
_END_SECONDS = 30.0
_BACKLOG = 2048  # as gunicorn
_SECONDS = 30


@dataclass(frozen=True)
class Front:
    """An nginx.

    Attributes:
        url: Where it listens.
        directory: Of its own, for this user only.
        listener: Descriptor of the socket at which it asks the application. The socket listens
            already, so that requests wait while the application starts.
    """

    version: str
    url: str
    directory: Path
    listener: int
    child: Child

    @property
    def bind(self) -> str:
        """Where the application has to accept connections, as gunicorn writes it."""
        return f"fd://{self.listener}"

    def end(self) -> None:
        """Wait until the answers that nginx has begun are sent, and delete its files."""
        self.child.stop(signal.SIGQUIT)
        self.child.wait(_END_SECONDS)
        shutil.rmtree(self.directory, ignore_errors=True)


def prepare(spec: Spec, listen: str, access_log: str | None) -> Front:
    """An nginx that will listen at ``listen``, an address with port. ``access_log`` is a path, or
    ``-`` for standard output.

    Raises :class:`PyindexError` with the reason if there is none here that can.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PROGRAMS}")
    if program is None:
        raise PyindexError("nginx is not installed")
    if spec.nginx.stand_in:
        raise PyindexError("nginx.stand_in needs the site of a host")
    version = _version(program)
    try:
        return _prepared(program, version, spec, listen, access_log)
    except OSError as error:  # a full disk
        where = error.filename or tempfile.gettempdir()
        raise PyindexError(f"{where}: {error.strerror}") from None


def _prepared(program: str, version: str, spec: Spec, listen: str, access_log: str | None) -> Front:
    _remove_abandoned()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        path = directory / _SOCKET
        listener = stack.enter_context(_listener(path))
        log = "/dev/stdout" if access_log == "-" else access_log
        values = FrontValues(directory, os.geteuid() == 0, log)
        configuration = directory / "nginx.conf"
        configuration.write_text(front(spec, listen, f"unix:{path}", values))
        command = _checked(program, version, configuration)
        stack.pop_all()
    output = _standard_output() if access_log == "-" else None
    child = Child(command, has_workers=True, output=output)
    return Front(version, f"http://{listen}", directory, listener.detach(), child)


def _remove_abandoned() -> None:
    """Remove the directories of servers that were killed: nobody listens at their sockets."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            if directory.lstat().st_uid == os.geteuid():
                client.settimeout(1)
                try:
                    client.connect(str(directory / _SOCKET))
                except ConnectionRefusedError:
                    shutil.rmtree(directory, ignore_errors=True)


def _checked(program: str, version: str, configuration: Path) -> list[str]:
    """Have nginx check its configuration, and return the command that runs it."""
    command = [program, "-p", str(configuration.parent), "-c", str(configuration)]
    if _numbers(version) >= _HAS_ERROR_OPTION:  # otherwise it warns of a log that it cannot write
        command += ["-e", "stderr"]
    checked = _run(*command, "-t", "-q")
    if checked.returncode:
        raise PyindexError(f"nginx -t: {checked.stderr.strip() or checked.returncode}")
    return command


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:  # a path of more than 107 bytes, unix(7)
        listener.close()
        raise PyindexError(f"{path}: {error}; set TMPDIR to another directory") from None
    return listener


def _version(program: str) -> str:
    found = re.search(r"nginx/(\d+(?:\.\d+)+)", _run(program, "-v").stderr)
    if found is None or _numbers(found[1]) < _OLDEST:
        has = found[1] if found else "no nginx"
        raise PyindexError(f"{program}: {has}; 1.18 or newer is required")
    return found[1]


def _standard_output() -> IO[bytes] | None:
    """A pipe to the standard output of this process: nginx opens /dev/stdout anew, which a socket
    does not allow, and then overwrites what others write into a file."""
    copier = subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True)
    return copier.stdin


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PyindexError(f"{command[0]}: {error}") from None
