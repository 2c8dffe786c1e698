"""``pyindex host``: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.host import HostPaths
from tests.host.hosts import FIRST, SECOND, SITE, SYSTEMD, links, load, new_host, render


@pytest.fixture
def host(tmp_path: Path) -> HostPaths:
    """A host with two releases, the first of which was applied."""
    host = new_host(tmp_path, FIRST, SECOND)
    render(host.opt / "rendered", SYSTEMD)
    assert main(apply(host, FIRST)) == 0
    return host


def apply(host: HostPaths, release: str, *options: str) -> list[str]:
    return command("apply", host, str(host.opt / "rendered"), "--release", release, *options)


def command(verb: str, host: HostPaths, *arguments: str) -> list[str]:
    return ["host", verb, "--root", str(host.root), *arguments]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """The JSON document of a command that succeeds."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_json_says_what_changed(host: HostPaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command prints one document with ``changed``, as ansible reads it."""
    assert not printed(capsys, *apply(host, FIRST))["changed"]
    planned = printed(capsys, *apply(host, SECOND, "--dry-run"))
    assert planned["changed"] and links(host) == (FIRST, "")
    assert printed(capsys, *apply(host, SECOND)) == planned
    load(host)
    assert printed(capsys, *apply(host, SECOND))["pending"] == []
    back = printed(capsys, *command("rollback", host, "--failed"))
    assert (back["release"], back["pending"]) == (FIRST, ["service"])
    assert printed(capsys, *command("prune", host, "--keep", "0")) == {
        "changed": False,
        "removed": [],
    }
    removed = printed(capsys, *command("remove", host))
    assert removed["changed"] and removed["remaining"] == {}


def test_text_says_what_changed(host: HostPaths, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each path, then the releases and the programs that have to load files."""
    host.of(SITE).write_text("edited")
    capsys.readouterr()
    main(apply(host, SECOND, "--dry-run"))
    assert capsys.readouterr().out == (
        f"would place {SITE}\n"
        f"release {SECOND}, previous {FIRST}\n"
        "not loaded yet: base, service, nginx\n"
    )
    main(apply(host, SECOND))
    main(command("rollback", host))
    main(command("remove", host, "--data", "/etc"))
    lines = capsys.readouterr().out.splitlines()
    assert f"placed {SITE}" in lines
    assert f"release {FIRST}, previous {SECOND}" in lines
    assert f"removed {SITE}" in lines
    assert "not removed /etc: not created by a play" in lines


# (arguments, exit code, what is printed)
FAILURES = [
    (["rollback"], 1, f"no release before {FIRST}"),
    (["rollback", "--failed"], 1, "no switch of releases to undo"),
    (
        ["apply", "/missing", "--release", FIRST],
        1,
        "/missing/files.json: missing; run the whole play",
    ),
    (["apply", "/missing", "--release", "9"], 1, "release not installed; run the whole play"),
    (["prune", "--keep", "-1"], 2, "expected a whole number from 0 to 1000, got '-1'"),
    (["apply"], 2, "missing"),
]


def test_load_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    """It runs on the host itself, so that it has no ``--root``."""
    assert main(["host", "load", "web"]) == 1
    assert "unknown part 'web': expected base, service, nginx" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "code", "text"), FAILURES)
def test_failures_are_explained(
    arguments: list[str],
    code: int,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1 for what can be explained, 2 for wrong usage; nothing is placed."""
    host = new_host(tmp_path, FIRST)
    render(host.opt / "rendered", SYSTEMD)
    main(apply(host, FIRST))
    capsys.readouterr()
    assert main(["host", *arguments, "--root", str(host.root)]) == code
    assert text in capsys.readouterr().err
    assert links(host) == (FIRST, "")
