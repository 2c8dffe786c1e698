"""Across an air gap: collected where there is a network, loaded and installed where there is none.

One host is an index, another has clients. Both are booted, and no route leads out of either. What
is collected stays in the cache, so that a second run downloads what is new.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.hosts.control import Control, Play
from tests.hosts.machines import Machine, Network
from tests.hosts.processes import output
from tests.hosts.specs import NAME, settings
from tests.integration import galaxy
from tests.integration.clients import (
    BUILT,
    CACHE,
    ROOT,
    Environment,
    Environments,
    interpreter,
    locked,
)
from tests.integration.worlds import FILES, INDEX, URL, World, other_index
from tests.nginx.certificates import certificate

pytestmark = pytest.mark.hosts

STACK = ROOT / "tests" / "data" / "stack.txt"
WANTED = [line for line in STACK.read_text().splitlines() if line and line[0] != "#"]
TARGETS = (
    *("debian12", "cp312-manylinux_2_36_x86_64", "cp313-manylinux_2_36_x86_64"),
    "cp313-win_amd64",
)
IMPORTS = "import jupyterlab, numpy, pandas, dask.array, xarray, sphinx, black, sqlalchemy, fastapi"
SPEC = "/etc/pyindex/pyindex.yml"
MEDIUM = Path("/media/stick")
AUTHORITY = "/etc/ssl/certs/ca-certificates.crt"
TRUST = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), AUTHORITY)
PIP = "pip-23.0.1-py3.11"
PYTHONS = ("2.7", "3.11", "3.12", "3.13")
HERE = ("--python", ".venv")  # "python -m uv pip" would change the environment of uv
PROJECT = f"""\
[project]
name = "platform"
version = "1"
requires-python = ">=3.11.2,<3.14"
dependencies = {WANTED}
[tool.uv]
environments = [
    "sys_platform == 'linux' and platform_machine == 'x86_64'",
    "sys_platform == 'win32' and python_full_version >= '3.13'",
]
[[tool.uv.index]]
url = "{URL}"
default = true
"""


# --- where there is a network ---------------------------------------------------------------------


@dataclass(frozen=True)
class Connected:
    """The side with a network: one packages directory for each index, and keys."""

    folder: Path

    def packages(self, index: str) -> Path:
        return CACHE / "air-gap" / index

    def pyindex(self, *words: str | Path, code: int = 0) -> str:
        return output(
            (Path(sys.executable).with_name("pyindex"), *words), code=code, cwd=self.folder
        )

    def mirror(self, index: str, *words: str | Path) -> str:
        """Fetch into a packages directory, which is made if it is not there."""
        with locked(CACHE / "air-gap" / f"{index}.lock"):
            self.packages(index).mkdir(parents=True, exist_ok=True)
            return self.pyindex("mirror", *self._index(index), *words)

    def bundle(self, index: str, *words: str | Path, name: str = "") -> Path:
        """Write a bundle onto the medium."""
        bundle = self.folder / f"{name or index}.tar"
        self.pyindex("bundle", bundle, *self._index(index), *words)
        return bundle

    def key(self, name: str) -> Path:
        """A new key that signs; beside it is its public half."""
        self.pyindex("bundle-key", f"{name}.key")
        return self.folder / f"{name}.key"

    def _index(self, index: str) -> tuple[str | Path, ...]:
        return ("-d", self.packages(index), "--state", self.folder / f"{index}.state")


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Connected:
    return Connected(tmp_path_factory.mktemp("connected"))


@pytest.fixture(scope="module")
def key(connected: Connected) -> Path:
    """The key whose bundles the index accepts."""
    return connected.key("lab")


@pytest.fixture(scope="module")
def galaxy_bundle(connected: Connected, key: Path) -> Path:
    """The 62 files of Galaxy 18.05 for Python 2.7, collected and bundled."""
    target = ("--target", "centos7-py27")
    said = connected.mirror("galaxy", "-r", galaxy.LIST, *target, "--no-deps")
    assert re.search(r"^62 files, .* 0 missing$", said, re.M), said
    assert re.search(r"installs +62 files$", said, re.M), said
    return connected.bundle("galaxy", "-r", galaxy.LIST, *target, "--no-deps", "--sign", key)


@dataclass(frozen=True)
class Locks:
    """A project that was locked with another index: uv.lock, pylock.toml and requirements.txt."""

    folder: Path
    bundle: Path


@pytest.fixture(scope="module")
def locks(connected: Connected, key: Path) -> Iterator[Locks]:
    """Collected for three Pythons and two platforms, locked where another index has the files."""
    targets = [word for target in TARGETS for word in ("--target", target)]
    said = connected.mirror("main", "-r", STACK, *targets)
    proofs = re.findall(r"^\S+ +(\S+) +(uv|pip) +installs +(\d+) files$", said, re.M)
    assert {(name, tool) for name, tool, _ in proofs} == {
        (target, tool) for target in TARGETS for tool in ("uv", "pip")
    }
    assert all(int(count) >= 150 for *_, count in proofs), said

    folder = connected.folder / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    tls = certificate(connected.folder, f"DNS:{INDEX},DNS:{FILES}")
    files = [path for path in connected.packages("main").iterdir() if path.is_file()]
    with other_index(connected.folder / "other", files, tls) as world:
        _lock(world, Environments(connected.folder / "clients")("uv"), folder)
    inputs: tuple[str | Path, ...] = ("-r", folder / "uv.lock", *targets)
    yield Locks(folder, connected.bundle("main", *inputs, "--sign", key))


def _lock(world: World, here: Environment, folder: Path) -> None:
    uv = partial(world.inside(here).run, "-m", "uv", cwd=folder)
    uv("lock")
    uv("export", "--format=pylock.toml", "--no-emit-project", "-o", "pylock.toml")
    # Its second line is the index.
    uv("export", "--no-emit-project", "--emit-index-url", "-o", "requirements.txt")


# --- behind the gap -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plays:
    """The plays that make a host an index: HTTPS with a private CA, and names of another index."""

    control: Control
    folder: Path
    key: Path
    variables: dict[str, object]

    def play(self, machine: Machine, *names: str, code: int = 0) -> Play:
        tls = {name: f"/etc/pyindex/tls/{name}.pem" for name in ("certificate", "key", "ca")}
        spec = settings(
            self.folder,
            url=f"https://{NAME}",
            indexes={name: {"packages": f"/srv/pyindex/{name}"} for name in ("main", "galaxy")},
            nginx={"tls": tls, "stand_in": list(names)},
            bundles={"keys": [Path(f"{self.key}.pub").read_text().splitlines()[1]]},
        )
        given = {
            "pyindex_spec": str(spec),
            "pyindex_private_ca": True,
            "pyindex_private_ca_directory": str(self.folder / "ca"),
        }
        return self.control.play(machine, variables=self.variables | given, code=code)


@pytest.fixture(scope="module")
def plays(control: Control, variables: dict[str, object], connected: Connected, key: Path) -> Plays:
    return Plays(control, connected.folder, key, variables)


@pytest.fixture(scope="module")
def host(network: Network, debian: Path, plays: Plays) -> Iterator[Machine]:
    """The index that a play makes."""
    with network.machine("host", debian, NAME) as machine:
        assert plays.play(machine, INDEX, FILES).counts()[1] == 0
        yield machine


@pytest.fixture(scope="module")
def client(
    network: Network, debian: Path, connected: Connected, host: Machine
) -> Iterator[Machine]:
    """A host where people install; it trusts the CA, and finds the index by all its names."""
    prefixes = {interpreter(version).resolve().parents[1] for version in PYTHONS}
    if Path("/usr") in prefixes:
        pytest.skip("a host has its own /usr; install these Pythons with pyenv")
    with network.machine("client", debian, shared=(BUILT, *prefixes)) as machine:
        authority = connected.folder / "ca" / "ca.pem"
        machine.put(authority, "/usr/local/share/ca-certificates/pyindex.crt")
        machine.run("update-ca-certificates")
        _add_hosts(machine, f"{host.address} {NAME}\n")
        fetch = "import urllib.request as u, sys; print(u.urlopen(sys.argv[1]).read().decode())"
        served = machine.run("python3", "-c", fetch, f"https://{NAME}/-/hosts")
        (line,) = re.findall(r"^#(ADDRESS .*)$", served, re.M)
        _add_hosts(machine, line.replace("ADDRESS", host.address) + "\n")
        yield machine


def _add_hosts(machine: Machine, line: str) -> None:
    machine.run("tee", "-a", "/etc/hosts", content=line.encode())


def carry(host: Machine, *files: Path) -> None:
    """Bring files on the medium."""
    place = host.root / MEDIUM.relative_to("/")
    place.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, place)


def load(host: Machine, bundle: Path, index: str, code: int = 0) -> str:
    """Load from the medium, as root does; returns what it says."""
    return host.run(
        "pyindex", "load", MEDIUM / bundle.name, "-c", SPEC, "--index", index, code=code
    )


def signature(bundle: Path) -> Path:
    return bundle.with_name(f"{bundle.name}.minisig")


@pytest.fixture(scope="module")
def galaxy_index(host: Machine, galaxy_bundle: Path) -> str:
    """The URL of the index that has Galaxy."""
    carry(host, galaxy_bundle, signature(galaxy_bundle))
    assert re.search("62 new of 62 files", load(host, galaxy_bundle, "galaxy"))
    return f"https://{NAME}/galaxy/simple/"


@pytest.fixture(scope="module")
def main_index(host: Machine, locks: Locks) -> str:
    """The URL of the index that has the stack."""
    carry(host, locks.bundle, signature(locks.bundle))
    assert "loaded bundle" in load(host, locks.bundle, "main")
    return f"https://{NAME}/simple/"


def test_no_route_leads_out(host: Machine, client: Machine) -> None:
    """Neither host reaches anything but the other and the machine that boots them."""
    for machine in (host, client):
        for elsewhere in ("192.0.2.1", "2001:db8::1"):
            said = machine.run("ip", "route", "get", elsewhere, code=2)
            assert "Network is unreachable" in said


def unsigned(connected: Connected, bundle: Path) -> None:
    """Without a signature."""


def foreign(connected: Connected, bundle: Path) -> None:
    """Signed by somebody else."""
    made = connected.bundle("galaxy", "--sign", connected.key("foreign"), name="foreign")
    shutil.copy(signature(made), signature(bundle))
    shutil.copy(made, bundle)


def changed(connected: Connected, bundle: Path) -> None:
    """With the signature of other bytes."""
    shutil.copy(signature(connected.folder / "galaxy.tar"), signature(bundle))
    with bundle.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"changed")


REFUSED = [
    (unsigned, "not signed, galaxy.tar.minisig is missing, and keys are configured"),
    (foreign, "signed by"),
    (changed, "galaxy.tar: not what key "),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED, ids=["unsigned", "foreign", "changed"])
def test_bundle_without_a_good_signature_is_refused(
    host: Machine,
    connected: Connected,
    galaxy_bundle: Path,
    change: Callable[[Connected, Path], None],
    reason: str,
) -> None:
    """A bundle that the key of the spec has not signed changes nothing on the host."""
    state = ("pyindex", "state", "-c", SPEC, "--index", "galaxy")
    before = sorted(host.run(*state).splitlines())  # of two streams
    carry(host, galaxy_bundle)
    bundle = host.root / MEDIUM.relative_to("/") / galaxy_bundle.name
    signature(bundle).unlink(missing_ok=True)
    change(connected, bundle)
    assert reason in load(host, galaxy_bundle, "galaxy", code=1)
    assert sorted(host.run(*state).splitlines()) == before


def test_galaxy_on_python_2_7(client: Machine, connected: Connected, galaxy_index: str) -> None:
    """pip 18.1 downloads all 62 files, with the digests of upstream, and installs what needs no
    compiler."""
    environment = client.environment(galaxy.CLIENT)
    home, pip = environment.home, ("-m", "pip")
    settings = f"[easy_install]\nindex_url = {galaxy_index}\n"
    client.put(settings.encode(), f"{home}/.pydistutils.cfg")  # for setup scripts
    client.put(galaxy.LIST, f"{home}/list.txt")
    options = ("--no-deps", "--index-url", galaxy_index)
    run = partial(environment.run, variables=TRUST)
    run(*pip, "download", *options, "--requirement", "list.txt", "--dest", "files")
    downloaded = galaxy.digests(client.root / home.relative_to("/") / "files")
    upstream = connected.packages("galaxy")
    assert len(downloaded) == 62
    assert downloaded == galaxy.digests(upstream)
    pins = galaxy.without_compiler(upstream)
    assert len(pins) == 53
    run(*pip, "install", *options, *map(str, pins))
    assert galaxy.missing(pins, run(*pip, "freeze", "--all")) == set()


def test_pip_installs_the_stack(client: Machine, main_index: str) -> None:
    """On Python 3.11, by the names of the projects."""
    environment = client.environment(PIP)
    pip = ("-m", "pip", "install", "--no-cache-dir", "--no-compile", "--index-url", main_index)
    environment.run(*pip, *WANTED, variables=TRUST)
    environment.run("-c", IMPORTS)


class Project:
    """The locked project on the client's host, uv, and an environment of a Python."""

    def __init__(self, client: Machine, locks: Locks, version: str) -> None:
        self.client = client
        self.uv = client.environment("uv")
        self.folder = self.uv.home / "project"
        for file in locks.folder.iterdir():
            client.put(file, str(self.folder / file.name))
        self.run("venv", "--python", interpreter(version))

    def run(self, *words: str | Path) -> None:
        settings = TRUST | {"UV_NO_CACHE": "1"}
        self.uv.run("-m", "uv", *words, cwd=self.folder, variables=settings)

    def imports(self) -> None:
        self.client.run(self.folder / ".venv/bin/python", "-c", IMPORTS)

    def read(self, name: str) -> bytes:
        return (self.client.root / self.folder.relative_to("/") / name).read_bytes()


def test_uv_installs_the_stack(client: Machine, locks: Locks, main_index: str) -> None:
    """On Python 3.12, by the names of the projects."""
    project = Project(client, locks, "3.12")
    project.run("pip", "install", *HERE, "--default-index", main_index, *WANTED)
    project.imports()


@pytest.mark.parametrize(("version", "option"), [("3.12", "--frozen"), ("3.13", "--locked")])
def test_uv_lock_installs_unchanged(
    client: Machine, locks: Locks, main_index: str, version: str, option: str
) -> None:
    """`uv sync` installs from the names that the lock has, and leaves it as it is."""
    project = Project(client, locks, version)
    before = project.read("uv.lock")
    assert f"https://{FILES}/packages/".encode() in before
    project.run("sync", option)
    project.imports()
    project.run("lock", "--check")
    assert project.read("uv.lock") == before == (locks.folder / "uv.lock").read_bytes()


def test_pylock_installs_unchanged(client: Machine, locks: Locks, main_index: str) -> None:
    """uv installs a pylock.toml from the names that it has."""
    project = Project(client, locks, "3.13")
    assert f"https://{FILES}/packages/".encode() in project.read("pylock.toml")
    project.run("pip", "sync", *HERE, "pylock.toml")
    project.imports()


def test_requirements_with_hashes_install_unchanged(
    client: Machine, locks: Locks, main_index: str
) -> None:
    """pip installs from the index that a requirements file names, each file by its digest."""
    environment = client.environment(PIP)
    file = locks.folder / "requirements.txt"
    assert f"--index-url {URL.rstrip('/')}" in file.read_text()
    client.put(file, f"{environment.home}/requirements.txt")
    pip = ("-m", "pip", "install", "--no-cache-dir", "--no-compile", "--require-hashes")
    environment.run(*pip, "-r", "requirements.txt", variables=TRUST)
    environment.run("-c", IMPORTS)


def test_name_that_the_private_ca_does_not_permit_changes_no_host(
    host: Machine, plays: Plays
) -> None:
    """A CA that was created for other names stops the play before it changes the host."""
    play = plays.play(host, INDEX, FILES, "another.example", code=2)
    # Ansible breaks lines.
    assert "ca.pem is not for all of" in " ".join(play.output.split())
    assert play.counts()[0] == 0
