"""`pyindex client`: settings that are printed, or written where clients read them."""

import json
import re
import resource
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from appliance.cli import main
from appliance.render.clientfiles import TOOLS

PROJECT = '[project]\nname = "x"\nversion = "1"\n'
SPEC = """\
url: https://pypi.lab.example/x
state: /var/lib/pyindex
indexes: {main: {packages: /srv/a}, dev: {packages: /srv/b}}
nginx:
  tls: {certificate: c.pem, key: k.pem, ca: ca.pem}
  stand_in: [index.example, files.example]
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current directory with a ``pyproject.toml`` and a spec elsewhere, and a home."""
    directory = tmp_path / "project"
    for name in ("project", "home"):
        (tmp_path / name).mkdir()
    (directory / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "lab.yml").write_text(SPEC)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "PYINDEX_SPEC"):
        monkeypatch.delenv(name, raising=False)
    return directory


PATHS = {
    "pip": "home/.config/pip/pip.conf",
    "uv": "home/.config/uv/uv.toml",
    "poetry": "project/pyproject.toml",
    "pdm": "home/.config/pdm/config.toml",
    "conda": "project/environment.yml",
}


HOSTS = {
    "http://pypi.lab.example": "trusted-host = pypi.lab.example\n",
    "http://127.0.0.1:8080": "",
    "http://localhost": "",
    "http://[::1]:8080": "",
    "https://pypi.lab.example": "",
}


@pytest.mark.parametrize("url", HOSTS)
def test_settings_of_a_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings say who wrote them, and trust a host only if pip would refuse it otherwise."""
    assert main(["client", "pip", "--url", url]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Written by pyindex client.\n")
    assert "".join(re.findall("^trusted-host.*\n", out, re.M)) == HOSTS[url]


@pytest.mark.parametrize("tool", TOOLS)
def test_settings_are_written_once(
    tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool's settings are written to the file it reads, readable by all; then nothing changes."""
    command = ["client", tool, "-c", "../lab.yml", "--write", "--json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    path = tmp_path / PATHS[tool]
    assert Path(first["path"]).absolute() == path
    assert path.read_text().endswith(first["content"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert "https://pypi.lab.example/x/simple/" in first["content"]
    before = path.stat()
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == first | {"changed": False, "backup": None}
    assert path.stat() == before


def test_settings_of_one_index_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--index` prints settings with the URL of that index alone, and a name of its own."""
    assert main(["client", "uv", "-c", "../lab.yml", "--index", "dev"]) == 0
    [index] = tomllib.loads(capsys.readouterr().out)["index"]
    url = "https://pypi.lab.example/x/dev/simple/"
    assert index == {"name": "pyindex-dev", "url": url, "default": True}


def test_url_needs_no_spec(capsys: pytest.CaptureFixture[str]) -> None:
    """With `--url` no spec is needed; it precedes that of a spec."""
    for spec in ([], ["-c", "../lab.yml"]):
        assert main(["client", "pdm", "--url", "http://other.lab/", *spec]) == 0
        pypi = tomllib.loads(capsys.readouterr().out)["pypi"]
        assert pypi == {"url": "http://other.lab/simple/", "verify_ssl": False}


@pytest.mark.parametrize(
    ("tool", "part", "variables"),
    [
        ("pip", "\ncert = {ca}\n", {}),
        ("pdm", '\nca_certs = "{ca}"\n', {}),
        ("uv", "#     export SSL_CERT_FILE={ca}\n", {"SSL_CERT_FILE": "{ca}"}),
        ("conda", "#     export PIP_CERT={ca}\n", {"PIP_CERT": "{ca}"}),
        ("poetry", "", {"REQUESTS_CA_BUNDLE": "{ca}"}),
    ],
)
def test_ca_is_named(
    tmp_path: Path,
    tool: str,
    part: str,
    variables: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--ca` is named in the file, or by an environment variable where the file cannot have it."""
    ca = tmp_path / "my ca.pem"
    ca.write_text("")
    assert main(["client", tool, "-c", "../lab.yml", "--ca", "../my ca.pem", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert part.format(ca=ca) in printed["content"]
    assert printed["variables"] == {key: value.format(ca=ca) for key, value in variables.items()}


def test_ca_of_spec_is_used_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--write` names the CA of the spec if this machine has it; printed settings do not."""
    (tmp_path / "ca.pem").write_text("")
    assert main(["client", "pip", "-c", "../lab.yml"]) == 0
    assert "\n#cert = " in capsys.readouterr().out
    assert main(["client", "pip", "-c", "../lab.yml", "--write"]) == 0
    assert f"\ncert = {tmp_path}/ca.pem\n" in (tmp_path / PATHS["pip"]).read_text()


def test_other_content_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with other content is replaced only with `--force`, and kept with its mode."""
    path = tmp_path / PATHS["pip"]
    path.parent.mkdir(parents=True)
    path.write_text("[global]\nproxy = secret\n")
    path.chmod(0o600)
    command = ["client", "pip", "-c", "../lab.yml", "--write"]
    assert main(command) == 1
    assert capsys.readouterr().err == (
        f"pyindex: {path}: has other content; merge it, or pass --force\n"
    )
    path.with_name("pip.conf.bak").write_text("of the user")
    assert main([*command, "--force"]) == 0
    backup = path.with_name("pip.conf.bak1")
    assert capsys.readouterr().out == f"{path}: written\n{backup}: content from before\n"
    assert backup.read_text() == "[global]\nproxy = secret\n"
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path, backup)} == {0o600}


def test_link_is_followed(tmp_path: Path) -> None:
    """A link in place of the file stays, and its target is written."""
    link, target = tmp_path / PATHS["uv"], tmp_path / "dotfiles"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    assert main(["client", "uv", "-c", "../lab.yml", "--write"]) == 0
    assert link.is_symlink()
    assert "index" in tomllib.loads(target.read_text())


def test_xdg_configuration_home_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the user are written below $XDG_CONFIG_HOME if that is absolute."""
    for value, path in (("relative", ".config"), (f"{tmp_path}/xdg", "../xdg")):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert main(["client", "pdm", "-c", "../lab.yml", "--write"]) == 0
        assert (tmp_path / "home" / path / "pdm/config.toml").exists()


def test_full_disk_changes_nothing(tmp_path: Path) -> None:
    """A write that fails leaves the file as it was."""
    pyproject = tmp_path / PATHS["poetry"]
    command = "import sys; from appliance.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "client", "poetry", "-c", "../lab.yml", "--write"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "File too large" in done.stderr
    assert pyproject.read_text() == PROJECT


def test_poetry_gets_source(tmp_path: Path) -> None:
    """The project file of Poetry keeps its text and gets the source at its end."""
    assert main(["client", "poetry", "-c", "../lab.yml", "--write"]) == 0
    text = (tmp_path / PATHS["poetry"]).read_text()
    assert text.startswith(PROJECT)
    [source] = tomllib.loads(text)["tool"]["poetry"]["source"]
    url = "https://pypi.lab.example/x/simple/"
    assert source == {"name": "pyindex", "url": url, "priority": "primary"}


HAS = (
    "pyproject.toml: has [[tool.poetry.source]] already; replace it with the output of"
    " `pyindex client poetry`"
)
NOT_VALID = "pyproject.toml: not a valid pyproject.toml: "
PYPROJECTS: list[tuple[bytes | None, str]] = [
    (None, "pyproject.toml: not found; change to the directory of the project"),
    (b'[[tool.poetry.source]]\nname = "other"\n', HAS),
    (b'[tool.poetry.source]\nname = "other"\n', HAS),
    (b"[tool\n", NOT_VALID),
    (b"tool = 3\n", NOT_VALID),
    (b"tool = {poetry = [1]}\n", NOT_VALID),
    (b"\xff\xfe", NOT_VALID),
]


@pytest.mark.parametrize(("content", "problem"), PYPROJECTS)
def test_project_of_poetry_is_not_merged(
    project: Path, content: bytes | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A project file with other sources, a damaged and a missing one stay, also with `--force`."""
    path = project / "pyproject.toml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert main(["client", "poetry", "-c", "../lab.yml", "--write", "--force"]) == 1
    assert capsys.readouterr().err.startswith(f"pyindex: {problem}")
    assert (path.read_bytes() if path.exists() else None) == content


ERRORS: list[tuple[list[str], str]] = [
    (["pip"], "no spec at pyindex.yml or /etc/pyindex/pyindex.yml; pass a directory or -c SPEC"),
    (["pip", "-d", "."], "url: missing in the spec; pass --url URL"),
    (["pip", "--url", "pypi.lab"], "url: expected http[s]://HOST[:PORT][/PREFIX] without user"),
    (
        ["pip", "--url", "http://x/simple"],
        "url: expected the URL of the appliance, without /simple",
    ),
    (["uv", "-c", "../lab.yml", "--index", "x"], "index 'x' not found; the spec has main, dev"),
    (["uv", "-c", "../lab.yml", "--ca", "no.pem"], "{here}/no.pem: no such file; save the"),
    (["uv", "-c", "../lab.yml", "--ca", "a\nb"], "--ca: expected a path, without control char"),
    (["hosts", "-d", "."], "nginx.stand_in: missing; list the host names to answer for"),
    (["hosts", "-c", "../lab.yml", "--address", "x"], "--address: expected an IP address, got 'x'"),
]


@pytest.mark.skipif(Path("/etc/pyindex/pyindex.yml").exists(), reason="this is a host of pyindex")
@pytest.mark.parametrize(("words", "problem"), ERRORS)
def test_errors_say_what_to_do(
    project: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong option or spec is an error in one line, and nothing is written."""
    write = [] if words[0] == "hosts" else ["--write"]
    assert main(["client", *words, *write]) == 1
    assert capsys.readouterr().err.startswith(f"pyindex: {problem.format(here=project)}")
    assert [path.name for path in project.iterdir()] == ["pyproject.toml"]


# --- host names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "record"), [("10.0.0.7", "A"), ("fd00::7", "AAAA")])
def test_hosts_lines(address: str, record: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`pyindex client hosts` prints a line for /etc/hosts, those of DNS servers as comments."""
    command = ["client", "hosts", "-c", "../lab.yml", "--address", address]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0] != "#"] == [f"{address} index.example files.example"]
    assert f"#     host-record=index.example,files.example,{address}" in lines
    for name in ("index", "files"):
        assert f'#     local-data: "{name}.example. {record} {address}"' in lines
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["address"], printed["names"]) == (address, ["index.example", "files.example"])


def test_hosts_line_without_address_is_comment(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an address the file has only comments, and says what to replace."""
    assert main(["client", "hosts", "-c", "../lab.yml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("#") for line in lines)
    assert "#ADDRESS index.example files.example" in lines
    assert "# Replace ADDRESS with the address of pypi.lab.example." in lines


def test_hosts_requires_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spec without `nginx.stand_in` has no lines."""
    data = yaml.safe_load(SPEC)
    del data["nginx"]["stand_in"]
    (tmp_path / "lab.yml").write_text(yaml.safe_dump(data))
    assert main(["client", "hosts", "-c", "../lab.yml"]) == 1
    text = "nginx.stand_in: missing; list the host names to answer for"
    assert capsys.readouterr().err == f"pyindex: {text}\n"
