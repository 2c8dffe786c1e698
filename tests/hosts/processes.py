"""Programs that tests run, and making an end of them."""

import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.conftest import eventually

TIMEOUT = 600


def output(
    command: Sequence[str | Path],
    *,
    code: int | None = 0,
    content: bytes = b"",
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """What *command* prints, standard error included; fails unless it exits with *code*.

    Args:
        command: The program and its arguments.
        code: Wanted exit code; ``None`` takes any.
        content: What it reads from its standard input.
        cwd: The folder it runs in.
        variables: All its environment variables; those of this process if not given.
    """
    done = subprocess.run(
        command,
        input=content,
        cwd=cwd,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    words = " ".join(map(str, command))
    assert code in (None, done.returncode), f"{words}\nexited {done.returncode}:\n{text}"
    return text


# Joins the control groups before "--", then becomes the program behind it.
ENTER = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


def grouped(name: str, command: Sequence[str | Path]) -> list[str]:
    """*command* such that all it ever starts is in the control groups called *name*."""
    groups = [folder / name for folder in _hierarchies()]
    for group in groups:
        group.mkdir(exist_ok=True)
    return ["sh", "-c", ENTER, "sh", *map(str, groups), "--", *map(str, command)]


def end(name: str) -> None:
    """Kill all that runs in the control groups called *name* (a pattern), and remove them."""
    groups = [group for folder in _hierarchies() for group in folder.glob(name)]
    for switch in (group / "cgroup.kill" for group in groups):
        if switch.exists():  # in version 2, which has all of them
            switch.write_text("1")
    for group in groups:
        for folder in (*sorted(group.rglob("*/"), reverse=True), group):
            members = folder / "cgroup.procs"
            eventually(partial(_is_empty, members))
            folder.rmdir()


def _is_empty(file: Path) -> bool:
    return not file.read_text()


def _hierarchies() -> list[Path]:
    """The trees of control groups that a systemd keeps its processes in: version 2, its own."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [
        Path(place)
        for _, place, kind, options, *_ in mounts
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(","))
    ]
