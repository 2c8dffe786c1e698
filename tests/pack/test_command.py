"""`pyindex appliance pack` for a bare CentOS 7, from servers of Pythons and packages."""

import json
from pathlib import Path

import pytest

from appliance.cli import main
from tests.pack.conftest import Server
from tests.pack.pythons import publish
from tests.pack.rpmmaking import CENTOS, Rpm, make_repository

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("programs")]

SPEC = """\
url: http://pypi.lab.example
state: /var/lib/pyindex
indexes: {{main: {{packages: /srv/pyindex/packages}}}}
host: {{system: centos-7, repositories: [{{url: "{}/os/", key: key.asc}}]}}
"""
SELINUX = ("libselinux-python", "libsemanage-python", "policycoreutils-python")


def test_one_command_collects_what_bare_host_needs(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Python and OS packages are collected once, also if the first run is interrupted."""
    sha256 = publish(server, tmp_path)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", f"{server.url}/downloads.json")
    repository = make_repository(server.root / "os", (*CENTOS, *map(Rpm, SELINUX)))
    spec, out = tmp_path / "pyindex.yml", tmp_path / "pack"
    spec.write_text(SPEC.format(server.url))
    (tmp_path / "key.asc").write_text("key\n")
    command = ["appliance", "pack", "--system=centos-7", f"--spec={spec}", f"--out={out}"]

    missing = next(repository.glob("bash-*.rpm"))
    missing.rename(tmp_path / missing.name)
    assert main(command) == 1
    assert f"{missing.name}: the server answered 404" in capsys.readouterr().err
    assert not out.exists()

    (tmp_path / missing.name).rename(missing)
    server.requested.clear()
    assert main(command) == 0
    archives = [path for path in server.requested if path.endswith((".rpm", ".gz"))]
    assert [path for path in archives if "repodata" not in path] == [f"/os/{missing.name}"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] == ".") == []
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["python"]["sha256"] == sha256
    assert f"packages/{missing.name}" in manifest["files"]
    assert {"packages/repodata/repomd.xml", "packages/keys/0.asc"} <= manifest["files"].keys()

    server.requested.clear()
    assert main(command) == 0
    assert main(["appliance", "check", str(out)]) == 0
    assert server.requested == []


def test_system_of_spec_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another system than that of the spec is an error."""
    (tmp_path / "pyindex.yml").write_text(SPEC.format("http://mirror.example"))
    spec = f"--spec={tmp_path / 'pyindex.yml'}"
    assert main(["appliance", "pack", "--system=debian-12", spec, f"--out={tmp_path / 'p'}"]) == 1
    expected = "--system: expected centos-7, as host.system of the spec, got debian-12"
    assert expected in capsys.readouterr().err
