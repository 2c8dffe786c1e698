"""``pyindex render``, as an operator uses it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from appliance import spec
from appliance.cli import main
from appliance.render import files

from .specs import SPECS, load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the spec of a small host as its pyindex.yml, to work in."""
    load("debian-12", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_are_written_below_a_directory(here: Path) -> None:
    """Each lies at its path on the host, with its mode; nothing else does."""
    assert main(["render", "--out", "out"]) == 0
    expected = {file.path: file.mode for file in files(spec.load(Path("pyindex.yml")))}
    found = {f"/{path.relative_to('out')}": path for path in Path("out").rglob("*")}
    written = {path: place for path, place in found.items() if place.is_file()}
    assert {path: place.stat().st_mode & 0o777 for path, place in written.items()} == expected


def test_a_difference_is_shown_and_ends_with_1(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would change is printed as a unified diff; 0 and silence when nothing would."""
    main(["render", "--out", "root"])
    assert main(["render", "--diff", "--root", "root"]) == 0
    assert capsys.readouterr().out == ""
    (here / "root/etc/pyindex/environment").write_text("edited by hand\n")
    (here / "root/etc/tmpfiles.d/pyindex.conf").unlink()
    assert main(["render", "--diff", "--root", "root"]) == 1
    said = capsys.readouterr().out
    assert "-edited by hand\n" in said
    assert "--- /dev/null\n+++ /etc/tmpfiles.d/pyindex.conf\n" in said


def test_the_list_for_programs_is_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Path, part, mode, owner, group and digest of each file."""
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


@pytest.mark.parametrize("wanted", [["nginx"], ["base", "service"], [SITE], ["base", SITE]])
def test_only_some_files_are_rendered(
    here: Path, wanted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of a part, or one by its path, whether written, compared or checked."""
    expected = {
        file.path
        for file in files(spec.load(Path("pyindex.yml")))
        if file.part in wanted or file.path in wanted
    }
    only = [f"--only={word}" for word in wanted]
    assert main(["render", *only, "--out", "out", "--json"]) == 0
    assert {file["path"] for file in json.loads(capsys.readouterr().out)} == expected
    assert {f"/{path.relative_to('out')}" for path in Path("out").rglob("*.*f")} <= expected
    assert main(["render", *only, "--diff", "--root", "out"]) == 0
    assert main(["render", "--diff", "--root", "out"]) == 1
    capsys.readouterr()
    assert main(["render", *only, "--check"]) == 0
    checked = {line.partition(": ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {path for line in checked for path in line.split()} <= expected


def test_a_part_that_there_is_not_is_an_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names those that there are."""
    assert main(["render", "--only", "ngnix"]) == 1
    sentence = "unknown part 'ngnix': expected base, nginx, service, or the path of one file"
    assert capsys.readouterr() == ("", f"pyindex: {sentence} on the host\n")


# (keys of a host's spec to replace; the sentence)
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
def test_what_a_host_needs_is_said(
    here: Path, changes: dict[str, object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spec that is good enough for an index, but not for a host, is refused with a sentence."""
    change_spec(changes)
    assert main(["render"]) == 1
    assert capsys.readouterr() == ("", f"pyindex: pyindex.yml: {sentence}\n")


@pytest.mark.parametrize(("changes", "sentence"), INCOMPLETE)
def test_the_check_of_a_spec_asks_the_same_for_a_host(
    here: Path, changes: dict[str, object], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `pyindex render` would refuse is told by `pyindex spec check` in the same words."""
    change_spec(changes)
    assert main(["spec", "check"]) == 1
    assert capsys.readouterr() == ("", f"pyindex.yml: {sentence}\n")


def test_a_template_of_the_operator_s_is_taken_first(here: Path) -> None:
    """A directory in the spec holds templates of the same names; the others are ours."""
    own = here / "templates" / "host"
    own.mkdir(parents=True)
    (own / "environment.j2").write_text("# {{ head }}\nPYINDEX_SPEC=/elsewhere\n")
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    found = {file.path: file.content for file in files(spec.load(here / "pyindex.yml"))}
    assert found["/etc/pyindex/environment"].endswith("PYINDEX_SPEC=/elsewhere\n")
    assert "templates" not in found["/etc/pyindex/pyindex.yml"]


def own_template(here: Path, text: str) -> Path:
    """The operator's own template of one file, and a spec that names its directory."""
    template = here / "templates" / "host" / "environment.j2"
    template.parent.mkdir(parents=True)
    template.write_text(text)
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    return template


# (which path, what is done to it, what is said)
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


@pytest.mark.parametrize(("name", "change", "words"), UNTRUSTED)
def test_templates_that_others_may_write_are_not_run(
    here: Path,
    name: str,
    change: Callable[[Path], object],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever renders, often root, runs nobody else's template; the sentence names the path."""
    own_template(here, "PYINDEX_SPEC=/elsewhere\n")
    place = here / "templates" / name
    try:
        change(place)
    except PermissionError:
        pytest.skip("only root gives files away")
    for command in (["render"], ["spec", "check"]):
        assert main(command) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"host.templates: {os.path.normpath(place)}: {words}" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ spec.__class__.__mro__ }}", "access to attribute '__class__'"),
        ("{{ system.__init__.__globals__ }}", "access to attribute '__init__'"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_template_does_nothing_but_make_text(
    here: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What else it tries, and what it gets wrong, is an error that names it."""
    own_template(here, text)
    assert main(["render"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("pyindex: pyindex.yml: host.templates: host/environment.j2: ")
    assert words in said


# (what the spec says of nginx and the server; where nginx listens without IPv6, or the sentence)
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


@pytest.mark.parametrize(("nginx", "server", "wanted"), ADDRESSES)
def test_a_host_without_ipv6(
    here: Path,
    nginx: dict[str, object],
    server: dict[str, object],
    wanted: list[str] | str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The default leaves it out, in the placed spec too; what was asked for is an error."""
    change_spec({"nginx": nginx, "server": server})
    code = main(["render", "--no-ipv6", "--out", "out"])
    if isinstance(wanted, str):
        assert (code, capsys.readouterr().err) == (1, f"pyindex: pyindex.yml: {wanted}\n")
        return
    site = (here / "out/etc/nginx/conf.d/pyindex.conf").read_text()
    assert re.findall(r"^    listen (\S+);", site, re.M) == wanted
    # There, it is the whole truth: nothing differs from what is placed.
    assert main(["render", "-c", "out/etc/pyindex/pyindex.yml", "--diff", "--root", "out"]) == 0


@pytest.mark.parametrize("key", ["state", "nginx.tls.key"])
def test_a_path_that_ansible_would_read_as_something_else(
    here: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused."""
    path = "/x/{{ y }}"
    tls = {"tls": {"certificate": "/c", "key": path}}
    change_spec({"url": "https://x", "nginx": tls} if key != "state" else {"state": path})
    assert main(["render"]) == 1
    assert f"{key}: {path}: must not contain {{{{" in capsys.readouterr().err


@pytest.mark.parametrize("name", SPECS)
def test_every_file_is_read_by_its_program(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nginx, systemd, supervisor, logrotate and the parsers have nothing to say against them."""
    load(name, tmp_path)
    assert main(["render", "-c", str(tmp_path / "pyindex.yml"), "--check"]) == 0
    said = capsys.readouterr().out
    assert "/etc/nginx/conf.d/pyindex.conf: nginx: ok" in said


def test_a_program_s_complaint_is_told_in_its_words(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A template that makes a broken site ends the check with 1 and what nginx says."""
    own = here / "templates" / "nginx"
    own.mkdir(parents=True)
    (own / "pyindex.conf.j2").write_text("# {{ head }}\nserver { listn 80; }\n")
    with (here / "pyindex.yml").open("a") as file:
        file.write("  templates: templates\n")
    assert main(["render", "--check"]) == 1
    assert 'unknown directive "listn"' in capsys.readouterr().out


def test_what_an_old_systemd_lacks_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For CentOS 7 a unit is held against what systemd 219 knows, whatever is installed here."""
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


def test_the_environment_decides_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same spec gives the same bytes in another locale, time zone and directory."""
    before = files(spec.load(here / "pyindex.yml"))
    for name, value in {"LC_ALL": "C", "TZ": "Asia/Tokyo", "HOME": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    os.chdir("/")
    assert files(spec.load(here / "pyindex.yml")) == before
