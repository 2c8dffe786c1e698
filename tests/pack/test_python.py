"""The Python of a pack: from uv, an archive or a directory, and checked before it is packed."""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from appliance.errors import PyindexError
from appliance.pack import interpreter
from appliance.pack.python import Python, add_archive, leading_directories
from tests.pack.conftest import Server
from tests.pack.pythons import PROGRAM, make_archive, make_tree, publish

KEY = "cpython-3.11-linux-x86_64-gnu"
RAN = (
    "#!/bin/sh\nexec " + sys.executable + " -I -c 'import sys\n"
    'sys.modules.update(_bz2=None, _lzma=None)\nexec(sys.argv[1])\' "$3"\n'
)


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of a CPython that uv can download."""
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", f"{server.url}/downloads.json")
    return publish(server, tmp_path)


def test_uv_downloads_python_once(published: str, server: Server, tmp_path: Path) -> None:
    """uv downloads the archive, whose bytes are packed; a second run finds it in the downloads."""
    python = Python().for_system("centos-7")
    for name in ("one", "two"):
        archive = add_archive(python, tmp_path / name, tmp_path / "downloads")
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == published
        assert archive.name.startswith("cpython-3.11.7")
        assert leading_directories(archive, "3.11") == 1
        assert interpreter.check(archive, "3.11", "centos-7")
    assert len([path for path in server.requested if path.endswith(".gz")]) == 1


def test_other_bytes_from_mirror_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv compares what a mirror sends with the digest that it has of each build."""
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL", raising=False)
    listed = [find_uv_bin(), "python", "list", "--only-downloads", "--output-format=json", KEY]
    (build,) = json.loads(subprocess.run(listed, capture_output=True, check=True).stdout)
    *_, release, name = build["url"].replace("%2B", "+").split("/")
    (tmp_path / "mirror" / release).mkdir(parents=True)
    make_archive(tmp_path / "mirror" / release / name, make_tree(tmp_path / "tree"))
    python = Python(mirror=(tmp_path / "mirror").as_uri()).for_system("centos-7")
    downloads = tmp_path / "downloads"
    with pytest.raises(
        PyindexError, match=r"^uv python install: .*: Hash mismatch.*--python-mirror"
    ):
        add_archive(python, tmp_path / "new", downloads)
    assert not downloads.exists()


def test_directory_is_packed_reproducibly(tmp_path: Path) -> None:
    """A directory becomes an archive that depends on names, modes and bytes alone."""
    archives: list[Path] = []
    for name in ("a", "b"):
        tree = make_tree(tmp_path / name)
        (tree / "lib" / "__pycache__").mkdir()
        (tree / "lib" / "__pycache__" / f"{name}.pyc").touch()
        os.utime(tree / "lib", (0, len(archives)))
        archives.append(add_archive(Python(archive=str(tree)), tmp_path / f"new-{name}", tmp_path))
    one, two = archives
    assert one.read_bytes() == two.read_bytes()
    assert leading_directories(one, "3.11") == 1
    assert interpreter.check(one, "3.11", "centos-7")


UNUSABLE = [
    # (program, message)
    (RAN, "expected Python 3.11 with all its modules, got 3.11 without _bz2, _lzma; pass"),
    (PROGRAM.replace(sys.executable, "echo 3.10"), "expected Python 3.11 with all"),
    ("#!/bin/sh\necho libpython3.11.so: not found >&2\nexit 127\n", "does not run: libpython3.11"),
    ("\x7fELF\0GLIBC_2.17\0GLIBC_2.18\0", "bin/python3.11: built for glibc 2.18, and centos-7 has"),
]


@pytest.mark.parametrize(("top", "strip"), [("", 0), (".", 1), ("python", 1), ("./python", 2)])
def test_python_is_run_wherever_it_is(tmp_path: Path, top: str, strip: int) -> None:
    """The Python is run, be it below a directory or not, also if names of members begin with ./"""
    with tarfile.open(tmp_path / "python.tar.gz", "w:gz") as archive:
        for path in make_tree(tmp_path / "tree").rglob("*"):
            member = archive.gettarinfo(path)
            member.name = "/".join(filter(None, (top, str(path.relative_to(tmp_path / "tree")))))
            archive.addfile(member, path.open("rb") if member.isfile() else None)
    assert leading_directories(tmp_path / "python.tar.gz", "3.11") == strip
    assert interpreter.check(tmp_path / "python.tar.gz", "3.11", "centos-7")


@pytest.mark.parametrize(("program", "message"), UNUSABLE)
def test_unusable_python_is_rejected(tmp_path: Path, program: str, message: str) -> None:
    """A Python is rejected that lacks modules, is another one, or does not run on the host."""
    make_archive(tmp_path / "python.tar.gz", make_tree(tmp_path / "tree", program))
    with pytest.raises(PyindexError) as error:
        interpreter.check(tmp_path / "python.tar.gz", "3.11", "centos-7")
    text = str(error.value)
    assert text.startswith(f"python.tar.gz: {message}")
    assert "pass another CPython with --python" in text


@pytest.mark.parametrize("kind", ["gz", "xz"])
def test_archive_that_ends_early_is_rejected(tmp_path: Path, kind: str) -> None:
    """Half of an archive, as an interrupted download leaves, is an error that names it."""
    path = tmp_path / f"python.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name in ("bin/python3.11", "lib/python3.11/more"):
            member = tarfile.TarInfo(f"python/{name}")
            member.size = 100_000
            archive.addfile(member, io.BytesIO(random.Random(0).randbytes(member.size)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.raises(PyindexError, match=rf"python\.tar\.{kind}: .*[Uu]nexpected end"):
        interpreter.check(path, "3.11", "centos-7")


def test_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    """An archive with a path outside of it is rejected, and nothing is written there."""
    with tarfile.open(tmp_path / "python.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../outside"))
    with pytest.raises(PyindexError, match="outside"):
        interpreter.check(tmp_path / "python.tar.gz", "3.11", "centos-7")


SYSTEM_PYTHON = Path("/usr/bin", f"python3.{sys.version_info.minor}")


@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="the system has another Python")
def test_system_python_checks_archive(tmp_path: Path) -> None:
    """A control machine may run pyindex by the Python of its distribution, such as 3.11.2."""
    make_archive(tmp_path / "python.tar.gz", make_tree(tmp_path / "tree"))
    script = (
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r});"
        " from pathlib import Path; from appliance.pack import interpreter;"
        " print(interpreter.check(Path('python.tar.gz'), '3.11', 'centos-7'))"
    )
    command = (SYSTEM_PYTHON, "-c", script)
    assert subprocess.check_output(command, cwd=tmp_path) == b"True\n"


CHOICES = [
    # (--python, system, whether uv downloads it, whether the pack has it)
    (None, "centos-7", True, True),
    (None, "debian-12", False, False),
    ("host", "centos-7", False, False),
    ("python.tar.gz", "centos-7", False, True),
    ("python.tar.gz", "debian-12", False, True),
]


@pytest.mark.parametrize(("archive", "system", "downloaded", "packed"), CHOICES)
def test_system_decides_about_python(
    archive: str | None, system: str, downloaded: bool, packed: bool
) -> None:
    """A pack for CentOS 7 has a Python unless the host has one, a pack for Debian 12 has none."""
    python = Python(archive=archive).for_system(system)
    assert (python.is_downloaded, python.is_packed) == (downloaded, packed)
