"""Hosts as directories: releases without programs, and rendered files for them."""

import grp
import json
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from appliance.host import PARTS, Change, HostPaths, apply, load_files
from appliance.render import HostFile

USER, GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
FIRST, SECOND, THIRD = (f"0.1.{number}-0123456789a{number}" for number in (1, 2, 3))

SPEC = "/etc/pyindex/pyindex.yml"
SERVICE = "/etc/systemd/system/pyindex.service"
SOCKET = "/etc/systemd/system/pyindex.socket"
SITE = "/etc/nginx/conf.d/pyindex.conf"
TMPFILES = "/etc/tmpfiles.d/pyindex.conf"
PROGRAMS = "/etc/supervisor/conf.d/pyindex.conf"

SYSTEMD = {
    SPEC: "state: /srv/state\nindexes: {main: {packages: /srv/packages}}\n",
    SERVICE: "# head\n[Service]\n",
    SOCKET: "# head\n[Socket]\n",
    SITE: "server {}\n",
    TMPFILES: "d /run/pyindex\n",
}
SUPERVISOR = {
    SPEC: SYSTEMD[SPEC] + "server: {manager: supervisor}\n",
    PROGRAMS: "[program:pyindex-server]\n",
    SITE: "server {}\n",
    TMPFILES: "d /run/pyindex\n",
}
_PARTS = {SITE: "nginx", TMPFILES: "base"}


def new_host(root: Path, *releases: str) -> HostPaths:
    """A host that has releases, none of which runs."""
    host = HostPaths(root)
    for name in releases:
        install(host, name)
    return host


def install(host: HostPaths, name: str) -> None:
    """Put a complete release on the host."""
    directory = host.releases / name
    directory.mkdir(parents=True)
    (directory / "complete").touch()


def render(directory: Path, contents: Mapping[str, str]) -> Path:
    """Write rendered files with their list, as a play copies them to the host."""
    listed = []
    for path, content in contents.items():
        file = directory / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        listed.append(host_file(path, content).listed())
    (directory / "files.json").write_text(json.dumps(listed))
    return directory


def host_file(path: str, content: str) -> HostFile:
    mode = 0o640 if path == SPEC else 0o644
    return HostFile(path, content, _PARTS.get(path, "service"), mode, USER, GROUP)


def run(host: HostPaths, release: str, contents: Mapping[str, str] = SYSTEMD) -> Change:
    """Apply a release with rendered files."""
    return apply(host, render(host.opt / "rendered", contents), release)


def load(host: HostPaths, *parts: str) -> list[str]:
    """Have programs load the files of the parts, all by default; returns what was run."""
    commands: list[str] = []

    def record(*command: str, **_options: bool) -> str:
        commands.append(" ".join(command))
        return "RUNNING RUNNING"

    for part in parts or PARTS:
        load_files(host, part, run=record)
    return commands


def links(host: HostPaths) -> tuple[str, str]:
    """The releases that ``current`` and ``previous`` link to; empty if there is no such link."""
    paths = (host.opt / "current", host.opt / "previous")
    names = [path.readlink().name if path.is_symlink() else "" for path in paths]
    return names[0], names[1]


def placed(host: HostPaths) -> dict[str, str]:
    """The content of each file below ``/etc``."""
    etc = host.of("/etc")
    files = [path for path in etc.rglob("*") if path.is_file()]
    return {f"/etc/{path.relative_to(etc)}": path.read_text() for path in files}


def tree(host: HostPaths) -> dict[str, str]:
    """Everything on the host: links with their targets, files with their content and mode."""
    paths = [path for path in host.root.rglob("*") if path.is_symlink() or path.is_file()]
    return {str(path.relative_to(host.root)): _described(path) for path in paths}


def _described(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return f"{path.stat().st_mode & 0o7777:o} {path.read_text()}"
