"""Who runs a command: the user who logged in to the host."""

import contextlib
import os
import pwd
from pathlib import Path

from appliance.index.model import Actor

_NO_LOGIN = 0xFFFFFFFF  # as the kernel shows the uid of processes that began without a login


def operator() -> Actor:
    """Return the user who runs this process. The audit uid of the login outlives `sudo` and a
    change of the user; without one, as in containers, it is the user that sudo names, or that of
    the process."""
    uid = _login()
    if uid is None and (name := os.environ.get("SUDO_USER")):
        return Actor(name)
    uid = os.getuid() if uid is None else uid
    try:
        return Actor(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Actor(f"uid {uid}")


def _login() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        uid = int(Path("/proc/self/loginuid").read_text())
        return None if uid == _NO_LOGIN else uid
    return None
