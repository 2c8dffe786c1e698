"""Packs: contents, manifest, reproducible releases."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from appliance import spec as specs
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.pack import Pack, build_pack, check_pack, probe, wheels
from appliance.pack.manifest import write_manifest
from appliance.pack.python import Python, add_archive, leading_directories
from appliance.pack.workspace import Workspace
from appliance.spec import Host, Spec
from tests.dist import make_wheel

SPEC = """\
url: http://pypi.lab.example
state: /var/lib/pyindex
indexes: {main: {packages: /srv/pyindex/packages}}
host: {system: debian-12}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    path = tmp_path / "pyindex.yml"
    path.write_text(SPEC)
    return specs.load(path)


def archive(path: Path, *members: str) -> Python:
    """Write a tar file with these members and return it as the Python of a pack."""
    with tarfile.open(path, "w:gz") as tar:
        for name in members:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Python("3.11", str(path), digest)


def manifest(directory: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((directory / "manifest.json").read_text())
    return content


def contents(directory: Path) -> Mapping[str, bytes]:
    files = {
        str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()
    }
    return {name: path.read_bytes() for name, path in files.items()}


def test_probe_is_reproducible(tmp_path: Path) -> None:
    """The probe is the same installable wheel each time, since its digest names a release."""
    one, two = tmp_path / probe.PROBE, tmp_path / "two.whl"
    probe.write(one)
    probe.write(two)
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as wheel:
        assert wheel.testzip() is None
    target = tmp_path / "target"
    command = (sys.executable, "-m", "pip", "install", "--no-index", "--target", target, one)
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    assert (target / "pyindex_probe.py").exists()


MISSING = [
    # (requirement, wheels in the pack, host's Python, missing requirements)
    ("leaf>=1", {}, "3.11", {"leaf>=1"}),
    ("leaf>=1", {"leaf": "1.0"}, "3.11", set()),
    ("leaf>=2", {"leaf": "1.0"}, "3.11", {"leaf>=2"}),
    ("Lea.F>=1", {"lea-f": "1.0"}, "3.11", set()),
    ('leaf; python_version < "3.13"', {}, "3.11", {"leaf"}),
    ('leaf; python_version < "3.13"', {}, "3.13", set()),
    ('leaf; python_version < "3.9"', {}, "3.11", set()),
    ('leaf; sys_platform == "win32"', {}, "3.11", set()),
    ('leaf; extra == "fast"', {}, "3.11", set()),
]


@pytest.mark.parametrize(("requirement", "there", "version", "missing"), MISSING)
def test_pack_evaluates_markers_for_host(
    tmp_path: Path, requirement: str, there: dict[str, str], version: str, missing: set[str]
) -> None:
    """The pack evaluates environment markers for the Python of the host."""
    make_wheel(tmp_path, "ours", "1.0", requires=[requirement])
    for name, number in there.items():
        make_wheel(tmp_path, name, number)
    assert wheels.missing(tmp_path, Python(version)) == missing


STRIPPED = [
    (("bin/python3.11", "lib/x.py"), 0),
    (("./bin/python3.11",), 1),
    (("python", "python/bin/python3.11"), 1),
    (("./python/bin/python3.11",), 2),
]


@pytest.mark.parametrize(("members", "strip"), STRIPPED)
def test_archive_has_leading_directories(
    tmp_path: Path, members: tuple[str, ...], strip: int
) -> None:
    """The number of leading directories that tar must strip is read from the archive."""
    archive(tmp_path / "python.tar.gz", *members)
    assert leading_directories(tmp_path / "python.tar.gz", "3.11") == strip


def rejections(tmp_path: Path) -> dict[str, tuple[Python, Path | None, str]]:
    """Inputs that cannot be packed, with the messages."""
    (tmp_path / "empty").mkdir()
    good = archive(tmp_path / "good.tar.gz", "bin/python3.11")
    other = archive(tmp_path / "other.tar.gz", "bin/python3.12")
    return {
        "digest": (
            Python("3.11", "http://files.example/x.tar.gz"),
            None,
            "http://files.example/x.tar.gz: no digest given; also pass --python-sha256",
        ),
        "missing": (Python("3.11", "x.tar.gz"), None, "x.tar.gz: No such file or directory; cor"),
        "wrong": (
            Python("3.11", good.archive, "0" * 64),
            None,
            f"{good.archive}: sha256 is {good.sha256}, expected {'0' * 64}",
        ),
        "version": (other, None, "other.tar.gz: no bin/python3.11 in it"),
        "directory": (Python(), tmp_path / "none", f"{tmp_path / 'none'}: no such directory"),
        "kind": (Python(), tmp_path / "empty", f"{tmp_path / 'empty'}: no .deb files; copy"),
    }


@pytest.mark.parametrize("case", ["digest", "missing", "directory", "kind"])
def test_pack_rejects_invalid_input(tmp_path: Path, spec: Spec, case: str) -> None:
    """The pack command names an invalid input and writes nothing."""
    python, packages, sentence = rejections(tmp_path)[case]
    with pytest.raises(PyindexError) as error:
        build_pack(spec, tmp_path / "out", python, packages)
    assert str(error.value).startswith(sentence)
    assert not (tmp_path / "out").exists()


def test_pack_defaults_to_debian(tmp_path: Path, spec: Spec) -> None:
    """The message about missing packages names Debian 12 if the spec has no system."""
    unsaid = spec.model_copy(update={"host": Host()})
    with pytest.raises(PyindexError) as error:
        build_pack(unsaid, tmp_path / "out", Python(), tmp_path)
    assert str(error.value) == f"{tmp_path}: no .deb files; copy those of debian-12 into it"


@pytest.mark.parametrize("case", ["wrong", "version"])
def test_pack_rejects_wrong_archive(tmp_path: Path, case: str) -> None:
    """The pack rejects a Python archive with another digest or another Python version."""
    python, _, sentence = rejections(tmp_path)[case]
    with pytest.raises(PyindexError) as error:
        leading_directories(add_archive(python, tmp_path / "new", tmp_path), python.version)
    assert str(error.value).startswith(sentence)


def test_pack_stays_if_another_cannot_take_its_place(tmp_path: Path) -> None:
    """The old pack is at its path again after an error between its removal and the new one."""
    workspace = Workspace(tmp_path / "pack")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "manifest.json").touch()
    with pytest.raises(FileNotFoundError), workspace.locked():
        workspace.replace()  # there is no new one
    assert [path.name for path in tmp_path.rglob("*")] == ["pack", "manifest.json"]


def test_killed_build_is_repaired(tmp_path: Path) -> None:
    """After a kill between two renames the old pack is restored, and downloads are kept."""
    part = tmp_path / ".pack.part"
    for name in ("old/manifest.json", "new/half", "downloads/packages/nginx.rpm"):
        (part / name).parent.mkdir(parents=True)
        (part / name).write_text(name)
    with Workspace(tmp_path / "pack").locked():
        assert contents(tmp_path / "pack") == {"manifest.json": b"old/manifest.json"}
        with (
            pytest.raises(PyindexError, match="pack: another command is writing it"),
            Workspace(tmp_path / "pack").locked(),
        ):
            pass
    assert set(contents(part)) == {"downloads/packages/nginx.rpm"}


def test_pack_keeps_unrelated_directory(tmp_path: Path, spec: Spec) -> None:
    """The pack command does not replace a directory with other files."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    with pytest.raises(PyindexError, match="something other than a pack; choose another"):
        build_pack(spec, tmp_path / "out", Python())
    assert contents(tmp_path / "out") == {"thesis.tex": b"years"}


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", '{"name": "an app", "files": {}}', '{"release": "1", "files": []}']
)
def test_pack_keeps_directory_with_unrelated_manifest(
    tmp_path: Path, spec: Spec, text: str
) -> None:
    """The pack command does not replace a directory whose manifest.json is not that of a pack."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(text)
    (tmp_path / "out" / "index.html").write_text("years")
    for run in (lambda out: build_pack(spec, out, Python()), check_pack):
        with pytest.raises(PyindexError, match="something other than a pack; choose another"):
            run(tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 2


def test_pack_keeps_file_at_path(tmp_path: Path, spec: Spec) -> None:
    """The pack command does not replace a file."""
    (tmp_path / "out").write_text("years")
    with pytest.raises(PyindexError, match="not a directory; choose another path"):
        build_pack(spec, tmp_path / "out", Python())


def make_pack(tmp_path: Path) -> Path:
    """Write a pack of a few files without pip."""
    out = tmp_path / "pack"
    for name in ("wheels/a-1-py3-none-any.whl", "tools/pip-20.3.4-py2.py3-none-any.whl"):
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text(name)
    (out / "tools" / probe.PROBE).write_text("probe")
    (out / "requirements.txt").write_text("a==1\n")
    write_manifest(out, {}, Python(), None)
    return out


def test_pack_keeps_added_files(tmp_path: Path, spec: Spec) -> None:
    """The pack command does not replace a pack to which files were added."""
    out = make_pack(tmp_path)
    (out / "notes.txt").write_text("years")
    with pytest.raises(PyindexError, match=r"not of the pack: notes\.txt; move them"):
        build_pack(spec, out, Python())
    assert (out / "notes.txt").read_text() == "years"


def change_manifest(out: Path, **changes: object) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | changes))


# (change of a pack, message)
TAMPERED: list[tuple[Callable[[Path], object], str]] = [
    (lambda out: (out / "requirements.txt").write_text("b\n"), "requirements.txt was changed"),
    (lambda out: (out / "wheels/a-1-py3-none-any.whl").unlink(), "wheels/a-1-py3-none-any.whl is"),
    (lambda out: (out / "tools/x.whl").touch(), "tools/x.whl was added"),
    (
        lambda out: (out / "wheels").rename(out / "__pycache__"),
        "__pycache__/a-1-py3-none-any.whl was",
    ),
    (lambda out: (out / "tools/link").symlink_to("/etc/passwd"), "tools/link is not a regular"),
    (lambda out: (out / "tools/link").symlink_to("/etc"), "tools/link is not a regular"),
    (lambda out: os.mkfifo(out / "fifo"), "fifo is not a regular file"),
    (
        lambda out: change_manifest(out, release="../../../etc"),
        "release '../../../etc' in manifest.json does",
    ),
    (
        lambda out: change_manifest(out, release="1-000000000000"),
        "release '1-000000000000' in manifest.json",
    ),
    (
        lambda out: change_manifest(out, pip="../../pip.whl"),
        "'../../pip.whl' in manifest.json is not one of",
    ),
    (
        lambda out: change_manifest(out, python={"archive": "/etc/shadow"}),
        "'/etc/shadow' in manifest.json",
    ),
    (lambda out: change_manifest(out, files={}), "wheels/a-1-py3-none-any.whl was added"),
]


@pytest.mark.parametrize(("change", "message"), TAMPERED)
def test_check_compares_pack_with_manifest(
    tmp_path: Path,
    change: Callable[[Path], object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The check command names a file that was changed, is missing, or was added."""
    out = make_pack(tmp_path)
    assert main(["appliance", "check", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: OK, release 0.")
    change(out)
    assert main(["appliance", "check", str(out)]) == 1
    assert f"{out}: {message}" in capsys.readouterr().err


@pytest.mark.integration
def test_pack_is_reproducible(
    tmp_path: Path, spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run changes nothing but damaged files; an added file makes another release."""
    out = tmp_path / "pack"
    command = ["appliance", "pack", "-c", str(tmp_path / "pyindex.yml"), "--out", str(out)]
    assert main(command) == 0
    assert f"{out}: built, release 0." in capsys.readouterr().out
    first, before = manifest(out), contents(out)
    assert main(command) == 0
    assert f"{out}: unchanged, release {first['release']}" in capsys.readouterr().out
    wheel = next((out / "wheels").glob("falcon-*.whl"))
    wheel.write_bytes(b"torn")
    assert build_pack(spec, out, Python()).release == first["release"]
    assert main(["appliance", "check", str(out)]) == 0
    assert contents(out) == before
    debs = tmp_path / "debs"
    debs.mkdir()
    (debs / "nginx.deb").write_bytes(b"!<arch>\n")
    other = build_pack(spec, out, Python(), debs)
    assert other.changed
    assert other.release != first["release"]
    assert contents(out)["packages/nginx.deb"] == b"!<arch>\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.integration
def test_pack_installs_without_index(tmp_path: Path, spec: Spec) -> None:
    """The pack installs into an empty environment with its own pip and without an index."""
    done: Pack = build_pack(spec, tmp_path / "pack", Python())
    release, directory = tmp_path / done.release, tmp_path / "pack"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", release], check=True)
    pip = str(directory / str(manifest(directory)["pip"]) / "pip")
    options = ["--isolated", "install", "--quiet", "--no-index", "--require-hashes"]
    options += [
        "--find-links",
        str(directory / "wheels"),
        "-r",
        str(directory / "requirements.txt"),
    ]
    subprocess.run([str(release / "bin/python"), pip, *options], check=True)
    shown = subprocess.run([release / "bin/pyindex", "--version"], capture_output=True, text=True)
    assert shown.stdout.startswith("pyindex ")
