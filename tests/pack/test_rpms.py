"""OS packages for CentOS 7 from yum repositories."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.pack import rpms
from appliance.spec import Repository
from tests.pack.conftest import Server
from tests.pack.openpgp import Keys, make_keys
from tests.pack.rpmmaking import CENTOS, CLOSURE, NAMES, Rpm, describe, make_repository

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("programs")]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, programs: None) -> Path:
    return make_repository(tmp_path_factory.mktemp("made") / "os", CENTOS)


@pytest.fixture
def centos(made: Path, server: Server) -> Path:
    return Path(shutil.copytree(made, server.root / "os"))


def download(server: Server, tmp_path: Path, *names: str, old: Path | None = None) -> list[Path]:
    repositories = [Repository(url=f"{server.url}/os/")]
    return rpms.download(repositories, names or NAMES, tmp_path / "downloads", old)


def rpm_requests(server: Server) -> list[str]:
    return [path.rpartition("/")[2] for path in server.requested if path.endswith(".rpm")]


def test_newest_packages_with_all_they_require(
    centos: Path, server: Server, tmp_path: Path
) -> None:
    """The newest versions are downloaded with what they require by name, soname or file."""
    expected = {rpm.filename for rpm in CENTOS if rpm.name in CLOSURE and rpm.version != "1.16.1"}
    assert {path.name for path in download(server, tmp_path)} == expected
    assert sorted(rpm_requests(server)) == sorted(expected)


def test_packages_come_from_several_repositories(
    centos: Path, server: Server, tmp_path: Path
) -> None:
    """A package of one repository requires those of another, as EPEL's require CentOS's."""
    make_repository(server.root / "epel", [Rpm("supervisor", "3.4.0", ("bash",), arch="noarch")])
    repositories = [Repository(url=f"{server.url}/{name}") for name in ("epel", "os")]
    files = rpms.download(repositories, ("supervisor",), tmp_path / "downloads", None)
    assert [path.name.split("-")[0] for path in sorted(files)] == ["bash", "supervisor"]


def test_interrupted_download_continues(centos: Path, server: Server, tmp_path: Path) -> None:
    """After a failure only the packages that are missing are downloaded."""
    missing = centos / next(rpm.filename for rpm in CENTOS if rpm.name == "bash")
    missing.rename(tmp_path / missing.name)
    with pytest.raises(PyindexError, match=f"/os/{missing.name}: the server answered 404"):
        download(server, tmp_path)
    (tmp_path / missing.name).rename(missing)
    server.requested.clear()
    assert len(download(server, tmp_path)) == len(CLOSURE)
    assert rpm_requests(server) == [missing.name]


def test_packages_of_older_pack_are_used(centos: Path, server: Server, tmp_path: Path) -> None:
    """Packages that an older pack has with the same digest are not downloaded."""
    old = tmp_path / "old"
    old.mkdir()
    names = [path.name for path in download(server, tmp_path)]
    for name in names:
        shutil.copyfile(centos / name, old / name)
    (old / names[0]).write_bytes(b"damaged")
    shutil.rmtree(tmp_path / "downloads")
    server.requested.clear()
    download(server, tmp_path, old=old)
    assert rpm_requests(server) == [names[0]]


def replace(pattern: str, content: bytes) -> Callable[[Path], None]:
    """Replace a file by another one of the same length, if that is possible."""

    def change(repository: Path) -> None:
        (path,) = repository.glob(pattern)
        path.write_bytes(content or path.read_bytes()[:-1] + b"\x7f")

    return change


# (change of the repository, wanted package, message)
FAULTS: list[tuple[Callable[[Path], None], str, str]] = [
    (replace("bash-*.rpm", b""), "bash", "bash-4.2.46-1.el7.x86_64.rpm: sha256 is "),
    (
        replace("bash-*.rpm", b"short"),
        "bash",
        "bash-4.2.46-1.el7.x86_64.rpm: has 5 bytes, expected",
    ),
    (replace("repodata/*-primary.xml*", b""), "bash", r"primary.xml.\w+: sha256 is "),
    (replace("repodata/repomd.xml", b"<html/>"), "bash", r"repomd.xml: no list of packages"),
    (replace("repodata/repomd.xml", b"<a"), "bash", r"repomd.xml: .*; check the URL"),
    (shutil.rmtree, "bash", "repomd.xml: the server answered 404"),
    (lambda repository: None, "tmux", "^tmux: in none of http.*; add a repository that has it"),
]


@pytest.mark.parametrize(("change", "name", "message"), FAULTS)
def test_fault_of_repository_is_reported(
    centos: Path,
    server: Server,
    tmp_path: Path,
    change: Callable[[Path], None],
    name: str,
    message: str,
) -> None:
    """Another file than the metadata states, or a missing one, is an error that names it."""
    change(centos)
    with pytest.raises(PyindexError, match=message):
        download(server, tmp_path, name)
    assert not list((tmp_path / "downloads").rglob("*.rpm"))


class Shown(list[str]):
    """The steps that were reported."""

    def update(self, step: str) -> None:
        self.append(step)

    def transfer(self, step: str, bytes_there: int, bytes_total: int) -> None:
        self.append(f"{step}, {bytes_there == bytes_total}")


def test_download_reports_progress(centos: Path, server: Server, tmp_path: Path) -> None:
    """Repositories that are read and packages that are there are reported."""
    shown, repositories = Shown(), [Repository(url=f"{server.url}/os/")]
    rpms.download(repositories, NAMES, tmp_path / "downloads", None, shown)
    assert shown[0] == f"reading {server.url}/os/"
    assert shown[-1] == f"fetching {len(CLOSURE)} of {len(CLOSURE)} packages, True"


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory, programs: None) -> Keys:
    return make_keys(tmp_path_factory.mktemp("o"))


# (who signs, the change of the repository after that, the message)
SIGNED: list[tuple[str | None, Callable[[Path], None], str | None]] = [
    ("ours", lambda repository: None, None),
    (None, lambda repository: None, None),
    ("other", lambda repository: None, "not signed by a key of .*: Can't check signature: No"),
    ("ours", lambda repository: describe(repository, "--revision=9"), "BAD signature"),
    ("ours", replace("repodata/repomd.xml.asc", b"<html/>"), "no valid OpenPGP data"),
]


@pytest.mark.parametrize(("signer", "change", "message"), SIGNED)
def test_signature_of_repository_is_verified(
    centos: Path,
    server: Server,
    tmp_path: Path,
    keys: Keys,
    other_keys: Keys,
    signer: str | None,
    change: Callable[[Path], None],
    message: str | None,
) -> None:
    """With a key, a signature that is there must be one of the list of packages by that key."""
    if signer:
        {"ours": keys, "other": other_keys}[signer].sign(centos / "repodata/repomd.xml")
    change(centos)
    repositories = [Repository(url=f"{server.url}/os/", key=keys.public)]
    if message is None:
        assert rpms.download(repositories, NAMES, tmp_path / "downloads", None)
    else:
        with pytest.raises(
            PyindexError, match=f"^{server.url}/os/repodata/repomd.xml: .*{message}"
        ):
            rpms.download(repositories, NAMES, tmp_path / "downloads", None)
        assert not rpm_requests(server)


def test_key_of_repository_is_checked(
    centos: Path, server: Server, tmp_path: Path, keys: Keys
) -> None:
    """A file that is no key is named."""
    keys.sign(centos / "repodata/repomd.xml")
    (key := tmp_path / "key").write_text("none")
    repositories = [Repository(url=f"{server.url}/os/", key=key)]
    with pytest.raises(PyindexError, match=f"^{key}: no public key .*: no valid OpenPGP data"):
        rpms.download(repositories, NAMES, tmp_path / "downloads", None)


def test_missing_requirement_is_reported(centos: Path, server: Server, tmp_path: Path) -> None:
    """What no repository provides is named, with the package that requires it."""
    (centos / next(rpm.filename for rpm in CENTOS if rpm.name == "openssl11-libs")).unlink()
    describe(centos)
    with pytest.raises(
        PyindexError, match=r"nothing provides libssl\.so\.1\.1\(\)\(64bit\) needed"
    ):
        download(server, tmp_path)


def test_packed_packages_are_repository(centos: Path, server: Server, tmp_path: Path) -> None:
    """The packages of a pack are a repository with the same packages, the same on each run."""
    contents = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        for path in download(server, tmp_path):
            shutil.copyfile(path, directory / path.name)
        key = tmp_path / "key"
        key.write_text("key\n")
        rpms.describe(directory, [key])
        assert (directory / "keys" / "0.asc").read_text() == "key\n"
        paths = sorted(path for path in directory.rglob("*") if path.is_file())
        contents.append([(path.relative_to(directory), path.read_bytes()) for path in paths])
    assert contents[0] == contents[1]
    packed = [Repository(url=(tmp_path / "one").as_uri())]
    again = rpms.download(packed, NAMES, tmp_path / "again", None)
    assert sorted(path.name for path in again) == [
        path.name for path in sorted((tmp_path / "one").glob("*.rpm"))
    ]
