"""What is carried to a host: whole, named after its content, the same for the same inputs."""

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
from appliance.pack.python import Python, copy_archive
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
    """A tar file with these members, as the Python to carry."""
    with tarfile.open(path, "w:gz") as tar:
        for name in members:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Python("3.11", str(path), digest)


def manifest(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "manifest.json").read_text())
    return found


def contents(folder: Path) -> Mapping[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


def test_the_probe_is_the_same_wheel_always(tmp_path: Path) -> None:
    """Its digest is part of a release's name; old and new pips install it."""
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
    # requirement of ours, wheels that are there, host's Python, what is missing
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
def test_conditions_are_those_of_the_host(
    tmp_path: Path, requirement: str, there: dict[str, str], version: str, missing: set[str]
) -> None:
    """What the host needs is not what the Python that packs would need."""
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
def test_where_the_python_lies_in_its_archive(
    tmp_path: Path, members: tuple[str, ...], strip: int
) -> None:
    """The manifest says how many directories tar has to leave out."""
    python = archive(tmp_path / "python.tar.gz", *members)
    assert copy_archive(python, tmp_path / "new", None) == strip


def rejections(tmp_path: Path) -> dict[str, tuple[Python, Path | None, str]]:
    """Inputs that cannot be packed, with the sentence."""
    (tmp_path / "empty").mkdir()
    good = archive(tmp_path / "good.tar.gz", "bin/python3.11")
    other = archive(tmp_path / "other.tar.gz", "bin/python3.12")
    return {
        "digest": (Python("3.11", "x.tar.gz"), None, "x.tar.gz: no digest given; also pass"),
        "wrong": (
            Python("3.11", good.archive, "0" * 64),
            None,
            f"{good.archive}: sha256 is {good.sha256}, expected {'0' * 64}",
        ),
        "version": (other, None, "other.tar.gz: no bin/python3.11 in it"),
        "folder": (Python(), tmp_path / "none", f"{tmp_path / 'none'}: no such directory"),
        "kind": (Python(), tmp_path / "empty", f"{tmp_path / 'empty'}: no .deb files; copy"),
    }


@pytest.mark.parametrize("case", ["digest", "folder", "kind"])
def test_what_cannot_be_packed_is_said(tmp_path: Path, spec: Spec, case: str) -> None:
    """The sentence names the thing, and nothing is left."""
    python, packages, sentence = rejections(tmp_path)[case]
    with pytest.raises(PyindexError) as error:
        build_pack(spec, tmp_path / "out", python, packages)
    assert str(error.value).startswith(sentence)
    assert not (tmp_path / "out").exists()


def test_a_host_that_is_not_said_is_taken_for_debian(tmp_path: Path, spec: Spec) -> None:
    """The sentence about its packages names the system that was meant."""
    unsaid = spec.model_copy(update={"host": Host()})
    with pytest.raises(PyindexError) as error:
        build_pack(unsaid, tmp_path / "out", Python(), tmp_path)
    assert str(error.value) == f"{tmp_path}: no .deb files; copy those of debian-12 into it"


@pytest.mark.parametrize("case", ["wrong", "version"])
def test_an_archive_is_checked(tmp_path: Path, case: str) -> None:
    """Another digest, or another Python in it, is refused."""
    python, _, sentence = rejections(tmp_path)[case]
    with pytest.raises(PyindexError) as error:
        copy_archive(python, tmp_path / "new", None)
    assert str(error.value).startswith(sentence)


def test_another_directory_is_left_alone(tmp_path: Path, spec: Spec) -> None:
    """A directory with something else in it is not replaced."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years")
    with pytest.raises(PyindexError, match="something other than a pack; choose another"):
        build_pack(spec, tmp_path / "out", Python())
    assert contents(tmp_path / "out") == {"thesis.tex": b"years"}


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", '{"name": "an app", "files": {}}', '{"release": "1", "files": []}']
)
def test_a_manifest_of_something_else_is_left_alone(tmp_path: Path, spec: Spec, text: str) -> None:
    """Many programs have a manifest.json; what lies beside it is not ours to replace."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(text)
    (tmp_path / "out" / "index.html").write_text("years")
    for run in (lambda out: build_pack(spec, out, Python()), check_pack):
        with pytest.raises(PyindexError, match="something other than a pack; choose another"):
            run(tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 2


def test_a_file_is_no_directory(tmp_path: Path, spec: Spec) -> None:
    """A pack is not put in the place of a file."""
    (tmp_path / "out").write_text("years")
    with pytest.raises(PyindexError, match="not a directory; choose another path"):
        build_pack(spec, tmp_path / "out", Python())


def a_pack(tmp_path: Path) -> Path:
    """A pack of a few files, which no pip was asked for."""
    out = tmp_path / "pack"
    for name in ("wheels/a-1-py3-none-any.whl", "tools/pip-20.3.4-py2.py3-none-any.whl"):
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text(name)
    (out / "tools" / probe.PROBE).write_text("probe")
    (out / "requirements.txt").write_text("a==1\n")
    write_manifest(out, {}, Python(), None)
    return out


def test_what_was_put_beside_a_pack_is_not_lost(tmp_path: Path, spec: Spec) -> None:
    """A pack is renewed by another directory in its place, which would not have it."""
    out = a_pack(tmp_path)
    (out / "notes.txt").write_text("years")
    with pytest.raises(PyindexError, match=r"not of the pack: notes\.txt; move them"):
        build_pack(spec, out, Python())
    assert (out / "notes.txt").read_text() == "years"


def said(out: Path, **changes: object) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | changes))


# (what is done to a pack, what is said)
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
    (lambda out: said(out, release="../../../etc"), "release '../../../etc' in manifest.json does"),
    (lambda out: said(out, release="1-000000000000"), "release '1-000000000000' in manifest.json"),
    (lambda out: said(out, pip="../../pip.whl"), "'../../pip.whl' in manifest.json is not one of"),
    (lambda out: said(out, python={"archive": "/etc/shadow"}), "'/etc/shadow' in manifest.json"),
    (lambda out: said(out, files={}), "wheels/a-1-py3-none-any.whl was added"),
]


@pytest.mark.parametrize(("change", "words"), TAMPERED)
def test_a_pack_is_held_against_its_manifest(
    tmp_path: Path, change: Callable[[Path], object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was changed, is missing, or was added is named."""
    out = a_pack(tmp_path)
    assert main(["appliance", "check", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: OK, release 0.")
    change(out)
    assert main(["appliance", "check", str(out)]) == 1
    assert f"{out}: {words}" in capsys.readouterr().err


@pytest.mark.integration
def test_the_same_inputs_give_the_same_pack(
    tmp_path: Path, spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run changes nothing, a damaged file is mended, a file more is another release."""
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
def test_a_release_is_made_of_it_without_an_index(tmp_path: Path, spec: Spec) -> None:
    """An empty environment and the carried pip are enough, and the command runs."""
    done: Pack = build_pack(spec, tmp_path / "pack", Python())
    release, folder = tmp_path / done.release, tmp_path / "pack"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", release], check=True)
    pip = str(folder / str(manifest(folder)["pip"]) / "pip")
    options = ["--isolated", "install", "--quiet", "--no-index", "--require-hashes"]
    options += ["--find-links", str(folder / "wheels"), "-r", str(folder / "requirements.txt")]
    subprocess.run([str(release / "bin/python"), pip, *options], check=True)
    shown = subprocess.run([release / "bin/pyindex", "--version"], capture_output=True, text=True)
    assert shown.stdout.startswith("pyindex ")
