"""Command `pyindex render`."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import spec
from appliance.cli import main
from appliance.render import files

from .specs import SPECS, load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the spec of a small host as its pyindex.yml."""
    load("debian-12", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_render_writes_files_below_directory(here: Path) -> None:
    """`pyindex render --out` writes each file at its path on the host with its mode."""
    assert main(["render", "--out", "out"]) == 0
    expected = {file.path: file.mode for file in files(spec.load(Path("pyindex.yml")))}
    entries = {f"/{path.relative_to('out')}": path for path in Path("out").rglob("*")}
    written = {path: target for path, target in entries.items() if target.is_file()}
    assert {path: target.stat().st_mode & 0o777 for path, target in written.items()} == expected


def test_render_diff_shows_changes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex render --diff` prints a unified diff and exits with 1 if a file differs."""
    main(["render", "--out", "root"])
    assert main(["render", "--diff", "--root", "root"]) == 0
    assert capsys.readouterr().out == ""
    (here / "root/etc/pyindex/environment").write_text("edited by hand\n")
    (here / "root/etc/tmpfiles.d/pyindex.conf").unlink()
    assert main(["render", "--diff", "--root", "root"]) == 1
    output = capsys.readouterr().out
    assert "-edited by hand\n" in output
    assert "--- /dev/null\n+++ /etc/tmpfiles.d/pyindex.conf\n" in output


def test_render_json_lists_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex render --json` lists path, part, mode, owner and group of each file."""
    assert main(["render", "--json"]) == 0
    listed = {file["path"]: file for file in json.loads(capsys.readouterr().out)}
    own = listed["/etc/pyindex/pyindex.yml"]
    assert (own["mode"], own["owner"], own["group"]) == ("0640", "root", "pyindex")
    assert {file["part"] for file in listed.values()} == {"base", "service", "nginx"}


def test_differences_and_verdicts_are_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--diff and --check print their facts as one document with --json, and exit as without."""
    main(["render", "--out", "root"])
    (here / "root/etc/pyindex/environment").write_text("edited\n")
    diff = ["render", "pyindex.yml", "--only=/etc/pyindex/environment", "--json", "--root=root"]
    assert main([*diff, "--diff"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["differs"]
    assert "-edited\n" in document["diff"]
    assert main(["render", "--only=/etc/pyindex/client/pip.conf", "--check", "--json"]) == 0
    (verdict,) = json.loads(capsys.readouterr().out)
    assert (verdict["path"], verdict["good"]) == ("/etc/pyindex/client/pip.conf", True)
    assert main(["render", "--diff", "--check"]) == 2


SITE = "/etc/nginx/conf.d/pyindex.conf"
SPEC = "/etc/pyindex/pyindex.yml"
EDITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "limit of nginx": ({"nginx": {"max_upload": "3g"}}, {SITE}),
    "workers": ({"server": {"workers": 3}}, {"/etc/systemd/system/pyindex.service"}),
    "targets": ({"targets": {"lab": "debian12"}}, set()),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edit_changes_only_what_it_means(
    here: Path, edit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edit of the spec changes the spec itself and the files that have the edited value, so that
    nothing else reloads."""
    assert main(["render", "--out", "root"]) == 0
    change, expected = EDITS[edit]
    path = here / "pyindex.yml"
    data = yaml.safe_load(path.read_text())
    for section, values in change.items():
        data[section] = data.get(section, {}) | values
    path.write_text(yaml.safe_dump(data))

    main(["render", "--diff", "--root", "root"])
    changed = set(re.findall(r"^\+\+\+ (\S+)", capsys.readouterr().out, re.MULTILINE))
    assert changed == expected | {SPEC}


@pytest.mark.parametrize("selected", [["nginx"], ["base", "service"], [SITE], ["base", SITE]])
def test_render_only_selects_files(
    here: Path, selected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render --only` selects files by part or path to write, compare or check."""
    expected = {
        file.path
        for file in files(spec.load(Path("pyindex.yml")))
        if file.part in selected or file.path in selected
    }
    only = [f"--only={word}" for word in selected]
    assert main(["render", *only, "--out", "out", "--json"]) == 0
    assert {file["path"] for file in json.loads(capsys.readouterr().out)} == expected
    assert {f"/{path.relative_to('out')}" for path in Path("out").rglob("*.*f")} <= expected
    assert main(["render", *only, "--diff", "--root", "out"]) == 0
    assert main(["render", "--diff", "--root", "out"]) == 1
    capsys.readouterr()
    assert main(["render", *only, "--check"]) == 0
    checked = {line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {path for line in checked for path in line.split()} <= expected


def test_render_rejects_unknown_part(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex render --only` rejects an unknown part and names the known ones."""
    assert main(["render", "--only", "ngnix"]) == 1
    sentence = "unknown part 'ngnix': expected base, nginx, service, or the path of one file"
    assert capsys.readouterr() == ("", f"pyindex: {sentence} on the host\n")


# (changed keys of a host's spec, message)
INCOMPLETE: list[tuple[dict[str, object], str]] = [
    ({"url": None}, "url: missing; a host needs the address that clients type"),
    (
        {"url": "https://pypi.lab"},
        "nginx.tls: missing; an https url needs certificate and key",
    ),
    (
        {"nginx": {"tls": {"certificate": "/c", "key": "/k"}}},
        "url: expected https, as nginx.tls is set; got http",
    ),
    (
        {"state": "/tmp/pyindex"},
        "state: /tmp/pyindex: services have a private /tmp and /var/tmp; use another directory",
    ),
    (
        {"server": {"bind": "port", "host": "pypi.lab"}},
        "server.host: expected an address for systemd to listen on, got 'pypi.lab'",
    ),
]
NO_HOST: tuple[dict[str, object], str] = (
    {"host": {}},
    "host.system: missing; to render files for a host, set it to centos-7 or debian-12",
)


def change_spec(changes: dict[str, object]) -> None:
    path = Path("pyindex.yml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


@pytest.mark.parametrize(("changes", "sentence"), [NO_HOST, *INCOMPLETE])
def test_render_rejects_incomplete_spec(
    here: Path, changes: dict[str, object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render` rejects a spec without the keys that a host needs."""
    change_spec(changes)
    assert main(["render"]) == 1
    assert capsys.readouterr() == ("", f"pyindex: pyindex.yml: {sentence}\n")


@pytest.mark.parametrize(("changes", "sentence"), INCOMPLETE)
def test_spec_check_reports_same_problems_as_render(
    here: Path, changes: dict[str, object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex spec check` reports the problems of a host's spec as `pyindex render` does."""
    change_spec(changes)
    assert main(["spec", "check"]) == 1
    assert capsys.readouterr() == ("", f"pyindex.yml: {sentence}\n")


def test_template_of_operator_overrides_default(here: Path) -> None:
    """A template in ``host.templates`` overrides the default of the same name."""
    own = here / "templates" / "host"
    own.mkdir(parents=True)
    (own / "environment.j2").write_text("# {{ head }}\nPYINDEX_SPEC=/elsewhere\n")
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    contents = {file.path: file.content for file in files(spec.load(here / "pyindex.yml"))}
    assert contents["/etc/pyindex/environment"].endswith("PYINDEX_SPEC=/elsewhere\n")
    assert "templates" not in contents["/etc/pyindex/pyindex.yml"]


def operator_template(here: Path, text: str) -> Path:
    """Write the operator's template of one file and name its directory in the spec."""
    template = here / "templates" / "host" / "environment.j2"
    template.parent.mkdir(parents=True)
    template.write_text(text)
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    return template


# (path, change, message)
UNTRUSTED: list[tuple[str, Callable[[Path], object], str]] = [
    (".", lambda path: path.chmod(0o1777), "is writable by others"),
    ("..", lambda path: path.chmod(0o777), "is writable by others"),
    ("host", lambda path: path.chmod(0o775), "is writable by others"),
    ("host/environment.j2", lambda path: path.chmod(0o646), "is writable by others"),
    (
        "host/environment.j2",
        lambda path: os.chown(path, 4321, 0),
        "must be owned by uid 0, not 4321",
    ),
    ("host", lambda path: os.chown(path, 4321, 0), "must be owned by uid 0, not 4321"),
    ("host/more.j2", lambda path: path.symlink_to("environment.j2"), "is a link"),
    ("host/more.j2", lambda path: path.symlink_to("nowhere"), "No such file or directory"),
]


@pytest.mark.parametrize(("name", "change", "message"), UNTRUSTED)
def test_render_rejects_untrusted_templates(
    here: Path,
    name: str,
    change: Callable[[Path], object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`pyindex render` rejects templates that another user may write and names the path."""
    operator_template(here, "PYINDEX_SPEC=/elsewhere\n")
    path = here / "templates" / name
    try:
        change(path)
    except PermissionError:
        pytest.skip("needs root to change owners")
    for command in (["render"], ["spec", "check"]):
        assert main(command) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"host.templates: {os.path.normpath(path)}: {message}" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ spec.__class__.__mro__ }}", "access to attribute '__class__'"),
        ("{{ system.__init__.__globals__ }}", "access to attribute '__init__'"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_template_error_is_reported(
    here: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render` reports access to internals and errors in a template with its name."""
    operator_template(here, text)
    assert main(["render"]) == 1
    output = capsys.readouterr().err
    assert output.startswith("pyindex: pyindex.yml: host.templates: host/environment.j2: ")
    assert message in output


# (nginx section, server section, addresses of nginx without IPv6 or the message)
ADDRESSES: list[tuple[dict[str, object], dict[str, object], list[str] | str]] = [
    ({}, {}, ["0.0.0.0:80"]),
    ({"listen": ["127.0.0.1"]}, {}, ["127.0.0.1:80"]),
    (
        {"listen": ["::", "10.0.0.1", "::1"]},
        {},
        "nginx.listen: this host has no IPv6; leave ::, ::1 out",
    ),
    ({}, {"bind": "port", "host": "::1"}, "server.host: this host has no IPv6, got ::1"),
    ({}, {"bind": "socket", "host": "::1"}, ["0.0.0.0:80"]),
]


@pytest.mark.parametrize(("nginx", "server", "expected"), ADDRESSES)
def test_render_for_host_without_ipv6(
    here: Path,
    nginx: dict[str, object],
    server: dict[str, object],
    expected: list[str] | str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`pyindex render --no-ipv6` omits default IPv6 addresses and rejects explicit ones."""
    change_spec({"nginx": nginx, "server": server})
    code = main(["render", "--no-ipv6", "--out", "out"])
    if isinstance(expected, str):
        assert (code, capsys.readouterr().err) == (1, f"pyindex: pyindex.yml: {expected}\n")
        return
    site = (here / "out/etc/nginx/conf.d/pyindex.conf").read_text()
    assert re.findall(r"^    listen (\S+);", site, re.M) == expected
    # The placed spec renders to the same files without the option.
    assert main(["render", "-c", "out/etc/pyindex/pyindex.yml", "--diff", "--root", "out"]) == 0


@pytest.mark.parametrize("key", ["state", "nginx.tls.key"])
def test_render_rejects_path_with_jinja_braces(
    here: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render` rejects a path with ``{{``, which ansible would expand."""
    path = "/x/{{ y }}"
    tls = {"tls": {"certificate": "/c", "key": path}}
    change_spec({"url": "https://x", "nginx": tls} if key != "state" else {"state": path})
    assert main(["render"]) == 1
    assert f"{key}: {path}: must not contain {{{{" in capsys.readouterr().err


@pytest.mark.parametrize("name", SPECS)
def test_render_check_accepts_all_files(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render --check` finds no problem in the files of any host."""
    load(name, tmp_path)
    assert main(["render", "-c", str(tmp_path / "pyindex.yml"), "--check"]) == 0
    output = capsys.readouterr().out
    assert "/etc/nginx/conf.d/pyindex.conf: nginx: ok" in output


def test_render_check_prints_message_of_program(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render --check` prints nginx's message on a broken template and exits with 1."""
    own = here / "templates" / "nginx"
    own.mkdir(parents=True)
    (own / "pyindex.conf.j2").write_text("# {{ head }}\nserver { listn 80; }\n")
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    assert main(["render", "--check"]) == 1
    assert 'unknown directive "listn"' in capsys.readouterr().out


def test_render_check_reports_directive_unknown_to_systemd_219(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex render --check` reports directives unknown to systemd 219 for CentOS 7."""
    load("centos-7", here)
    own = here / "templates" / "systemd"
    own.mkdir(parents=True)
    (own / "pyindex.socket.j2").write_text(
        "# {{ head }}\n[Socket]\nListenStream=127.0.0.1:1\nFlushPending=yes\n"
    )
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    assert main(["render", "--check"]) == 1
    assert "Socket.FlushPending is unknown to systemd 219" in capsys.readouterr().out


def test_rendering_ignores_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The renderer gives the same files in another locale, time zone and directory."""
    before = files(spec.load(here / "pyindex.yml"))
    for name, value in {"LC_ALL": "C", "TZ": "Asia/Tokyo", "HOME": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    os.chdir("/")
    assert files(spec.load(here / "pyindex.yml")) == before
