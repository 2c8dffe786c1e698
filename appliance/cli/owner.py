"""Root acts as the owner of a state directory: files that root makes, the service cannot write."""

import os
import pwd
import sys
from pathlib import Path

from appliance.errors import PyindexError


def act_as_owner(state: Path) -> None:
    """Let root become the owner of the state directory, before anything in it is opened.

    Raises :class:`PyindexError` if the owner cannot read Python or pyindex.
    """
    try:
        status = state.stat()
    except OSError:
        return  # the user of this process will create it
    if os.geteuid() != 0 or status.st_uid == 0:
        return

    name = _become(status)
    print(f"pyindex: acting as {name}, the owner of {state}", file=sys.stderr)
    for path in (sys.executable, os.__file__, __file__):
        if not os.access(path, os.R_OK):
            raise PyindexError(
                f"{path}: permission denied for {name}; install pyindex where all users can read"
                " it, such as /opt, not in root's home"
            )


def _become(status: os.stat_result) -> str:
    """Change to the user and group that own a directory; returns the user's name."""
    try:
        owner = pwd.getpwuid(status.st_uid)
    except KeyError:
        name, group, home = f"user {status.st_uid}", status.st_gid, "/"
        os.setgroups([])
    else:
        name, group, home = owner.pw_name, owner.pw_gid, owner.pw_dir
        os.initgroups(name, group)

    os.environ.update(HOME=home, USER=name, LOGNAME=name)
    os.setresgid(group, group, group)
    os.setresuid(status.st_uid, status.st_uid, status.st_uid)
    return name
