"""OS packages for Debian 12 from apt's repositories."""

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.pack import debs
from appliance.spec import Repository
from tests.pack.conftest import Server
from tests.pack.openpgp import Keys

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("programs")]

# (name, version, Depends)
DEBS = [
    ("nginx", "1.22.1-9", "libc6 (>= 2.36), nginx-common"),
    ("nginx-common", "1:1.22.1-9", ""),
    ("libc6", "2.36-9", ""),
    ("logrotate", "3.21.0-1", ""),
    ("unused", "1.0-1", ""),
]
NAMES = ("nginx", "logrotate")
CLOSURE = ("libc6", "logrotate", "nginx", "nginx-common")
PLACE = "dists/bookworm/main/binary-amd64"


def run(*command: str | Path, cwd: Path) -> bytes:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True).stdout


@pytest.fixture
def debian(server: Server, keys: Keys) -> Path:
    """A signed repository."""
    pool = server.root / "pool"
    pool.mkdir()
    for name, version, depends in DEBS:
        make_deb(pool, name, version, depends)
    (server.root / PLACE).mkdir(parents=True)
    listed = run("dpkg-scanpackages", "--multiversion", "pool", cwd=server.root)
    (server.root / PLACE / "Packages").write_bytes(listed)
    suite = server.root / "dists" / "bookworm"
    options = [f"-oAPT::FTPArchive::Release::{name}=bookworm" for name in ("Suite", "Codename")]
    release = run("apt-ftparchive", *options, "release", ".", cwd=suite)
    (suite / "Release").write_bytes(release)
    keys.run("-o", "InRelease", "--clearsign", "Release", cwd=suite)
    return server.root


def make_deb(pool: Path, name: str, version: str, depends: str) -> None:
    control = pool / name / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    lines = [f"Package: {name}", f"Version: {version}", "Architecture: amd64"]
    lines += ["Maintainer: a <a@example.org>", "Description: a"]
    lines += [f"Depends: {depends}"] if depends else []
    control.write_text("\n".join(lines) + "\n")
    subprocess.run(["dpkg-deb", "--build", pool / name, pool], check=True, capture_output=True)
    shutil.rmtree(pool / name)


def download(server: Server, key: Path | None, tmp_path: Path, *names: str) -> list[Path]:
    repositories = [Repository(url=f"{server.url}/ bookworm main", key=key)]
    return debs.download(repositories, names or NAMES, tmp_path / "downloads", tmp_path / "old")


def deb_requests(server: Server) -> list[str]:
    return [path.rpartition("/")[2] for path in server.requested if path.endswith(".deb")]


def test_packages_with_all_they_require(
    debian: Path, server: Server, keys: Keys, tmp_path: Path
) -> None:
    """apt downloads the packages with all that they require, whatever this machine has, once. The
    path of the key may have any characters."""
    key = tmp_path / "a key, [100%] of #1.asc"
    shutil.copyfile(keys.public, key)
    for expected in (len(CLOSURE), 0):
        files = download(server, key, tmp_path)
        assert {path.name.partition("_")[0] for path in files} == set(CLOSURE)
        assert all(path.exists() for path in files)
        assert len(deb_requests(server)) == expected
        server.requested.clear()


def test_interrupted_download_continues(
    debian: Path, server: Server, keys: Keys, tmp_path: Path
) -> None:
    """After a failure only the packages that are missing are downloaded; old ones are used."""
    (missing,) = (debian / "pool").glob("logrotate_*.deb")
    content = missing.read_bytes()
    missing.unlink()
    with pytest.raises(PyindexError, match=r"^apt-get install: .*logrotate.* 404"):
        download(server, keys.public, tmp_path)
    missing.write_bytes(content)
    server.requested.clear()
    assert len(download(server, keys.public, tmp_path)) == len(CLOSURE)
    assert deb_requests(server) == [missing.name]
    (tmp_path / "downloads" / "archives").rename(tmp_path / "old")
    server.requested.clear()
    assert len(download(server, keys.public, tmp_path)) == len(CLOSURE)
    assert deb_requests(server) == []


def test_other_bytes_are_rejected(debian: Path, server: Server, keys: Keys, tmp_path: Path) -> None:
    """apt compares each package with the digest that the signed files have."""
    (path,) = (debian / "pool").glob("logrotate_*.deb")
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(PyindexError, match="Hash Sum mismatch"):
        download(server, keys.public, tmp_path)


def test_other_key_is_rejected(debian: Path, server: Server, tmp_path: Path) -> None:
    """Without the key that signed the repository, nothing is downloaded."""
    with pytest.raises(PyindexError, match=r"^apt-get update: .*(NO_PUBKEY|not signed)"):
        download(server, None, tmp_path)
    assert deb_requests(server) == []


def test_missing_package_is_reported(
    debian: Path, server: Server, keys: Keys, tmp_path: Path
) -> None:
    """A package that no repository has is named."""
    with pytest.raises(PyindexError, match="Unable to locate package tmux; correct host"):
        download(server, keys.public, tmp_path, "tmux")
