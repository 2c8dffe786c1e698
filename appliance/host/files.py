"""Files of a host: read as values, compared, and replaced atomically with mode and owner."""

import contextlib
import grp
import os
import pwd
import stat
import subprocess
from pathlib import Path

from appliance import atomic
from appliance.errors import PyindexError
from appliance.host.paths import HostPaths
from appliance.render import HostFile


def read(host: HostPaths, path: str, part: str) -> HostFile | None:
    """The file as it is on the host, or None if it is not there or not a plain file."""
    target = host.of(path)
    try:
        status = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None

    content = target.read_bytes().decode(errors="surrogateescape")
    mode = stat.S_IMODE(status.st_mode)
    return HostFile(path, content, part, mode, _user(status.st_uid), _group(status.st_gid))


def is_placed(host: HostPaths, file: HostFile) -> bool:
    """Whether the file is on the host with its content, mode and owner."""
    placed = read(host, file.path, file.part)
    if placed is None or os.geteuid() == 0:
        return placed == file
    # Only root can give files away: another user, as in a test, compares what it could write.
    return (placed.content, placed.mode) == (file.content, file.mode)


def place(host: HostPaths, file: HostFile) -> None:
    """Replace the file of the host atomically. Raises PyindexError for an unknown owner."""
    target = host.of(file.path)
    atomic.make_directory(target.parent)
    # cron, logrotate, systemd and nginx ignore files of this name.
    temporary = target.with_name(f".{target.name}.dpkg-new")
    ids = _ids(file) if os.geteuid() == 0 else None
    _replace(target, temporary, file.content.encode(errors="surrogateescape"), file.mode, ids)


def replace_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file atomically and durably, unless it has this content.

    Only root may have write access to its directory.
    """
    if path.exists() and path.read_bytes() == content:
        return
    _replace(path, path.with_name(f".{path.name}.new"), content, mode)


def _replace(
    path: Path, temporary: Path, content: bytes, mode: int, ids: tuple[int, int] | None = None
) -> None:
    """Write ``temporary``, readable by its owner alone, give it owner and mode, and rename it."""
    atomic.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)

    if ids is not None:
        os.chown(temporary, *ids)
    temporary.chmod(mode)
    atomic.sync_paths([str(temporary)])
    temporary.replace(path)
    atomic.sync_paths([str(path.parent)])


def link(path: Path, target: str) -> None:
    """Make ``path`` a link to ``target``, atomically; without a target, remove it."""
    if not target:
        atomic.unlink(path)
        return
    temporary = path.with_name(f".{path.name}.new")
    atomic.unlink(temporary)
    temporary.symlink_to(target)
    temporary.replace(path)
    atomic.sync_paths([str(path.parent)])


def exists(path: Path) -> bool:
    """Whether anything is at ``path``, a broken link included."""
    return os.path.lexists(path)


def link_target(path: Path) -> str:
    """Where a link leads; empty if there is none."""
    with contextlib.suppress(OSError):
        return str(path.readlink())
    return ""


def delete_tree(path: Path) -> None:
    """Delete a path with all below it, without following links or entering other file systems.
    Raises PyindexError if something of it cannot be deleted."""
    command = ["rm", "-rf", "--one-file-system", "--", str(path)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise PyindexError(f"{path}: not deleted: {done.stderr.strip()}")


def _ids(file: HostFile) -> tuple[int, int]:
    """User and group of a file as numbers."""
    try:
        return pwd.getpwnam(file.owner).pw_uid, grp.getgrnam(file.group).gr_gid
    except KeyError:
        text = f"{file.path}: user {file.owner} or group {file.group} not found; run the whole play"
        raise PyindexError(text) from None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
