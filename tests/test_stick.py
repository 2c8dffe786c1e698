"""Media that set up a host: contents, digests, refusals. `tests/hosts/test_stick.py` uses one."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from appliance import render
from appliance import spec as specs
from appliance.bundle.minisign import SecretKey
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.pack import check_stick, digests, playbook, selfwheel
from appliance.pack.python import Python
from tests.dist import make_wheel
from tests.hosts.specs import settings

ROOT = Path(__file__).parent.parent
PLAYBOOKS = ROOT / "ansible"
SCRIPT = Path(str(resources.files("appliance.pack"))) / "install.sh"
SECRET = SecretKey(b"\1" * 8, b"\2" * 32)


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in digests.of_directory(directory)}


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the lock of another process that writes the medium."""
    command = ("flock", directory, "-c", "echo; cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate(b"")


MISUSED = [
    (("--python", "x.tar.gz"), "the options of the host require --with-appliance"),
    (("--host-spec", "host.yml"), "the options of the host require --with-appliance"),
    (("--upgrade",), "the options of the host require --with-appliance"),
    (("--with-appliance",), "--with-appliance requires the spec of the host; pass --host-spec"),
]


@pytest.mark.parametrize(("options", "sentence"), MISUSED)
def test_misused_options_are_refused(
    tmp_path: Path, options: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options of the host without the flag, and the flag without a spec, are usage errors."""
    make_wheel(tmp_path, "foo", "1.0")
    assert main(["bundle", str(tmp_path / "out.tar"), "-d", str(tmp_path), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.tar").exists()


def other_script(directory: Path) -> None:
    (directory / "install").write_text("#!/bin/sh\necho mine\n")


def other_directory(directory: Path) -> None:
    (directory / "appliance").mkdir()
    (directory / "appliance" / "notes.txt").write_text("mine\n")


REFUSED: list[tuple[Callable[[Path], object], dict[str, Any], str]] = [
    (other_script, {}, "{}/install: exists, and is another script; choose another directory"),
    (
        other_directory,
        {},
        "{}/appliance: contains other files: notes.txt; move them away, or choose another"
        " directory",
    ),
    (
        Path.exists,
        {"host": {"system": "centos-7", "repositories": ["http://a.example/debian x main"]}},
        "host.repositories: http://a.example/debian/ x main: expected URL for centos-7; correct it",
    ),
    (
        Path.exists,
        {"bundles": {"keys": [SECRET.public.line]}},
        "bundles.keys: the host would refuse the bundle; sign it by one of these keys, with --sign",
    ),
    (Path.exists, {"host": {}}, "host.system: missing; to render files for a host, set it to"),
]


@pytest.mark.parametrize(("prepare", "changes", "sentence"), REFUSED)
def test_medium_is_refused(
    tmp_path: Path, prepare: Callable[[Path], object], changes: dict[str, Any], sentence: str
) -> None:
    """Other files at the paths, and hosts that the medium could not set up, are errors."""
    stick = tmp_path / "stick"
    stick.mkdir()
    prepare(stick)
    before = contents(stick)
    with pytest.raises(PyindexError) as error:
        check_stick(stick, specs.load(settings(tmp_path, **changes)), Python(), None, None)
    assert str(error.value).startswith(sentence.format(stick))
    assert contents(stick) == before


def test_options_are_checked_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without OS packages in the directory for them, not even the bundle is written."""
    for name in ("packages", "debs", "stick"):
        (tmp_path / name).mkdir()
    make_wheel(tmp_path / "packages", "foo", "1.0")
    command = ["bundle", str(tmp_path / "stick/lab.tar"), "-d", str(tmp_path / "packages")]
    command += ["--with-appliance", "--host-spec", str(settings(tmp_path))]
    assert main([*command, "--packages", str(tmp_path / "debs")]) == 1
    assert "debs: no .deb files; copy those of debian-12 into it" in capsys.readouterr().err
    assert not list((tmp_path / "stick").iterdir())


def test_key_of_spec_may_sign(tmp_path: Path) -> None:
    """A medium that is signed by a key of the spec is accepted."""
    spec = specs.load(settings(tmp_path, bundles={"keys": [SECRET.public.line]}))
    check_stick(tmp_path, spec, Python(), None, SECRET)


def test_roles_use_collections_of_medium() -> None:
    """The roles use the collections that the medium has, and no others."""
    text = "\n".join(path.read_text() for path in (PLAYBOOKS / "roles").rglob("*.yml"))
    used = set(re.findall(r"\b((?:ansible|community|containers)\.[a-z]+)\.[a-z_]+\b", text))
    assert used - {"ansible.builtin"} == set(playbook.COLLECTIONS)


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix")])
def test_script_runs_in_shell(shell: tuple[str, ...]) -> None:
    """The script is one for the shells of Debian and of CentOS, and has help."""
    subprocess.run([*shell, "-n", SCRIPT], check=True)
    done = subprocess.run([*shell, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "sudo sh install [--key FILE]" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_script_requires_root(tmp_path: Path) -> None:
    """Another user is told how to run the script."""
    script = SCRIPT.read_text()
    done = subprocess.run(
        ["sh", "-c", script, "install"], capture_output=True, text=True, user=61234, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "install: root required; run: sudo sh install\n",
    )


@pytest.mark.integration
def test_installed_pyindex_has_playbook(tmp_path: Path) -> None:
    """A pyindex that was installed from its wheel has the playbook, the roles and the script, not
    the inventories of the checkout; so has the wheel that it builds of itself."""
    wheel = selfwheel.build(tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
        names = set(archive.namelist())
    assert not [name for name in names if "inventories" in name]
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from appliance.pack import playbook, selfwheel;"
        "playbook.add_playbook(Path(sys.argv[2]));"
        "print(selfwheel.build(Path(sys.argv[3])))"
    )
    places = [str(tmp_path / name) for name in ("installed", "playbook", "again")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *places], capture_output=True, text=True, check=True
    )
    expected = {name for name in contents(PLAYBOOKS / "roles") if "__pycache__" not in name}
    assert contents(tmp_path / "playbook/roles").keys() == expected
    assert (tmp_path / "playbook/site.yml").exists()
    with zipfile.ZipFile(done.stdout.strip()) as archive:
        assert set(archive.namelist()) == names
    assert "appliance/pack/install.sh" in names


@pytest.mark.integration
def test_medium_is_reproducible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run keeps each byte, repairs damaged files and removes those of a killed run; it
    refuses to run beside another. All names are valid on FAT."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "stick").mkdir()
    make_wheel(tmp_path / "packages", "foo", "1.0")
    out, spec = tmp_path / "stick/lab.tar", settings(tmp_path)
    command = ["bundle", str(out), "-d", str(tmp_path / "packages"), "--with-appliance"]
    command += ["--host-spec", str(spec)]
    assert main(command) == 0
    before = contents(out.parent)
    check = ["sha256sum", "--check", "--strict", "--quiet", "appliance/SHA256SUMS"]
    subprocess.run(check, cwd=out.parent, check=True)
    listed = {line.split("  ")[1] for line in before["appliance/SHA256SUMS"].decode().splitlines()}
    assert before.keys() - listed == {"lab.tar", "appliance/SHA256SUMS"}
    assert len({name.lower() for name in before}) == len(before)
    assert not [name for name in before if re.search(r'[\\:*?"<>|]|[. ](/|$)', name)]
    assert not list(out.parent.rglob(".*"))

    next(out.parent.glob("appliance/wheels/jinja2-*")).write_bytes(b"torn")
    next(out.parent.glob("appliance/pack/wheels/jinja2-*")).write_bytes(b"torn")
    shutil.rmtree(out.parent / "appliance/ansible")
    (out.parent / "appliance/spec/more.yml").write_text("added\n")
    (out.parent / "appliance/.new-killed/wheels").mkdir(parents=True)
    with held(out.parent / "appliance"):
        assert main(command) == 1
        assert "another command is writing it" in capsys.readouterr().err
    assert main(command) == 0
    assert contents(out.parent) == before


@pytest.mark.integration
def test_medium_has_files_of_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and templates of the spec, and values of the environment, are on the medium: the same
    host is rendered of it elsewhere. Files of the host are not."""
    near = tmp_path / "near"
    templates = near / "templates/nginx"
    templates.mkdir(parents=True)
    (templates / "_limits.j2").write_text("# ours\n")
    assert main(["bundle-key", str(near / "lab.key")]) == 0
    tls = {"certificate": "/etc/tls/cert.pem", "key": str(near / "key.pem")}
    (near / "key.pem").write_text("secret\n")
    spec = settings(
        near,
        url="https://${LAB}.lab.example",
        bundles={"keys": ["lab.key.pub"]},
        host={"system": "debian-12", "templates": "templates"},
        nginx={"tls": tls},
    )
    (near / "packages").mkdir()
    (near / "stick").mkdir()
    make_wheel(near / "packages", "foo", "1.0")
    command = ["bundle", str(near / "stick/lab.tar"), "-d", str(near / "packages")]
    command += ["--with-appliance", "--host-spec", str(spec), "--sign", str(near / "lab.key")]
    monkeypatch.setenv("LAB", "pypi")
    assert main(command) == 0
    monkeypatch.delenv("LAB")
    shutil.move(near / "stick", tmp_path / "far")
    key = (near / "lab.key.pub").read_text().splitlines()[1]
    shutil.rmtree(near)

    assert not [name for name in contents(tmp_path / "far") if name.endswith((".key", ".pem"))]
    carried = specs.load(tmp_path / "far/appliance/spec/pyindex.yml")
    assert carried.bundles.keys == (key,)
    files = {file.path: file.content for file in render.files(carried)}
    assert "# ours" in files["/etc/nginx/conf.d/pyindex.conf"]
    assert "pypi.lab.example" in files["/etc/nginx/conf.d/pyindex.conf"]
