"""A command that is killed between any two steps completes when it is started again."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.host import HostPaths, apply, prune, remove, rollback
from tests.host.hosts import FIRST, SECOND, SUPERVISOR, SYSTEMD, load, new_host, render, run, tree

STEPS = (
    *((os, name) for name in ("replace", "rename", "unlink", "symlink", "rmdir")),
    (subprocess, "run"),
)


class Killed(BaseException):
    """The command ends here."""


@contextmanager
def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the block when it has changed that many names of files; ends as it would otherwise."""
    remaining = steps

    def limited(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal remaining
            if remaining == 0:
                raise Killed
            remaining -= 1
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for module, name in STEPS:
            patch.setattr(module, name, limited(getattr(module, name)))
        yield


def upgrade(host: HostPaths) -> None:
    """Another release, and other files."""
    apply(host, host.root / "new", SECOND)


COMMANDS: list[Callable[[HostPaths], object]] = [
    upgrade,
    rollback,
    lambda host: rollback(host, failed=True),
    lambda host: prune(host, keep=1),
    load,
    remove,
]


def prepared(root: Path, command: Callable[[HostPaths], object]) -> HostPaths:
    """A host on which the command has something to do."""
    host = new_host(root, FIRST, SECOND, "0.1.0-0123456789ab")
    render(root / "new", SUPERVISOR)
    run(host, FIRST, SYSTEMD)
    if command is not upgrade:
        upgrade(host)
    return host


@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_completes(
    command: Callable[[HostPaths], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of steps, and once more after all of them."""
    whole = prepared(tmp_path / "whole", command)
    command(whole)
    for steps in range(1000):
        host = prepared(tmp_path / str(steps), command)
        try:
            with killed_after(steps, monkeypatch):
                command(host)
        except Killed:
            command(host)
            assert tree(host) == tree(whole), steps
        else:
            break
    assert steps > 0
