"""Locks made against another index install unchanged from an appliance that stands in for it.

Each of the two runs in a world of its own, see `tests.integration.worlds`.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import render, spec
from appliance.operations.update import update
from benchmarks.ports import HOST, free_port
from tests.conftest import scanned
from tests.dist import make_sdist, make_wheel
from tests.integration.clients import Environment, Environments
from tests.integration.worlds import FILES, INDEX, URL, Inside, World, other_index, world
from tests.nginx.certificates import certificate, privileged
from tests.nginx.servers import application

pytestmark = [privileged, pytest.mark.integration]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    names = f"DNS:pypi.lab.example,DNS:{INDEX},DNS:{FILES}"
    return certificate(tmp_path_factory.mktemp("tls"), names)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of three projects."""
    directory = tmp_path_factory.mktemp("packages")
    return [
        make_wheel(directory, "foo", "1.0", requires=["bar>=2"]),
        make_sdist(directory, "foo", "1.0", requires=["bar>=2"]),
        make_wheel(directory, "bar", "2.0", requires=["baz"]),
        make_wheel(directory, "baz", "3.0"),
    ]


@pytest.fixture(scope="module")
def public(
    tmp_path_factory: pytest.TempPathFactory, packages: list[Path], tls: dict[str, str]
) -> Iterator[World]:
    """Another index: a tree of plain files."""
    directory = tmp_path_factory.mktemp("public")
    with other_index(directory, packages, tls) as running_world:
        yield running_world


@pytest.fixture(scope="module")
def appliance(
    tmp_path_factory: pytest.TempPathFactory, packages: list[Path], tls: dict[str, str]
) -> Iterator[World]:
    """Appliance with the same files at other paths and in two indexes."""
    directory = tmp_path_factory.mktemp("appliance")
    for name in ("ours/some where", "theirs"):
        (directory / name).mkdir(parents=True)
    for package in packages:
        name = "ours/some where" if package.name.startswith("foo") else "theirs"
        os.link(package, directory / name / package.name)
    path, listening = directory / "pyindex.yml", directory / "app.sock"
    path.write_text(
        "url: https://pypi.lab.example/py\nstate: state\nhost: {system: debian-12}\n"
        "indexes: {main: {packages: ours, bases: [theirs]}, theirs: {packages: theirs}}\n"
        f"nginx: {{tls: {tls}, stand_in: [{INDEX}, {FILES}]}}\n"
    )
    given = spec.load(path)
    update(given)
    scanned(given)
    site = render.nginx(given, HOST).replace(render.SOCKET, str(listening))
    with (
        application(path, free_port(), f"unix:{listening}"),
        world(directory, site, tls["ca"]) as running_world,
    ):
        yield running_world


# --- locks, each made by a client and installed by one --------------------------------------------

PROJECT = f"""\
[project]
name = "consumer"
version = "1"
requires-python = ">=3.11,<3.12"
dependencies = ["foo"]
[[tool.uv.index]]
url = "{URL}"
default = true
[[tool.poetry.source]]
name = "public"
url = "{URL}"
priority = "primary"
"""


@dataclass(frozen=True)
class Project:
    """Directory of a project, and the environment of a client."""

    directory: Path
    client: Inside

    def run(self, *arguments: str | Path) -> str:
        variables = {"POETRY_VIRTUALENVS_IN_PROJECT": "true", "UV_PYTHON": str(self.client.python)}
        return self.client.run(*arguments, cwd=self.directory, variables=variables)


def uv_lock(project: Project) -> None:
    project.run("-m", "uv", "lock")


def uv_sync(project: Project) -> None:
    """Install frozen; check the lock; install again from pages; solve again: the same lock."""
    lock = project.directory / "uv.lock"
    before = lock.read_bytes()
    assert f"https://{FILES}/packages/".encode() in before
    project.run("-m", "uv", "sync", "--frozen", "--no-cache")
    project.run("-m", "uv", "lock", "--check", "--no-cache")
    project.run("-m", "uv", "sync", "--reinstall", "--no-cache")
    assert lock.read_bytes() == before
    project.run("-m", "uv", "lock", "--upgrade", "--no-cache")
    # The tree of plain files has no sizes and times.
    facts = re.compile('(name|version|registry|url|hash) = "(.*?)"')
    assert facts.findall(lock.read_text()) == facts.findall(before.decode())


def pylock(project: Project) -> None:
    project.run("-m", "uv", "lock")
    options = ("--format=pylock.toml", "--no-emit-project", "-o", "pylock.toml")
    project.run("-m", "uv", "export", *options)
    (project.directory / "uv.lock").unlink()


def pylock_install(project: Project) -> None:
    # Packages of the tool itself stay: a sync would remove them.
    options = ("--no-cache", "--no-deps", "--python", project.client.python)
    project.run("-m", "uv", "pip", "install", *options, "-r", "pylock.toml")


def requirements(project: Project) -> None:
    (project.directory / "in.txt").write_text("foo\n")
    options = ("--generate-hashes", "--emit-index-url", "--default-index", URL)
    project.run("-m", "uv", "pip", "compile", *options, "in.txt", "-o", "requirements.txt")


def requirements_install(project: Project) -> None:
    """Install with pip."""
    assert f"--index-url {URL}" in (project.directory / "requirements.txt").read_text()
    options = ("--no-cache-dir", "--require-hashes", "-r", "requirements.txt")
    project.run("-m", "pip", "install", *options)


def poetry_lock(project: Project) -> None:
    project.run("-m", "poetry", "lock", "--no-interaction")


def poetry_install(project: Project) -> None:
    project.run("-m", "poetry", "install", "--no-root", "--no-interaction", "--no-cache")


LOCKS: list[tuple[str, str, str, Callable[[Project], None], Callable[[Project], None]]] = [
    ("uv.lock", "uv", "uv", uv_lock, uv_sync),
    ("pylock.toml", "uv", "uv", pylock, pylock_install),
    ("requirements.txt", "uv", "pip-22.3.1-py3.11", requirements, requirements_install),
    ("poetry.lock", "poetry", "poetry", poetry_lock, poetry_install),
]


@pytest.mark.parametrize(
    ("name", "client", "installer", "lock", "install"), LOCKS, ids=[name for name, *_ in LOCKS]
)
def test_lock_of_other_index_installs_unchanged(
    public: World,
    appliance: World,
    environments: Environments,
    tmp_path: Path,
    name: str,
    client: str,
    installer: str,
    lock: Callable[[Project], None],
    install: Callable[[Project], None],
) -> None:
    """A lock that a client makes against the other index installs from the appliance."""
    locking = environments(client)
    installing = locking if installer == client else environments(installer)
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "pyproject.toml").write_text(PROJECT)
    lock(Project(directory, public.inside(locking)))
    before = (directory / name).read_bytes()
    install(Project(directory, appliance.inside(installing)))
    assert (directory / name).read_bytes() == before or name == "uv.lock"  # which was solved again
    own = directory / ".venv"
    prefix = own if own.exists() else installing.python.parents[1]
    Environment(prefix, installing.home).run("-c", "import foo, bar, baz")


def test_worlds_reach_nothing_else(
    public: World, appliance: World, environments: Environments
) -> None:
    """The two indexes cannot be confused, and neither has a network."""
    ask = (
        "import http.client; c = http.client.HTTPSConnection('index.example');"
        "c.request('GET', '/pypi/foo/json'); print(c.getresponse().status)"
    )
    environment = environments("uv")
    for place, status in ((public, 404), (appliance, 200)):
        assert place.inside(environment).run("-c", ask) == f"{status}\n"
        devices = place.inside(environment).run("-c", "print(*open('/proc/net/dev'))")
        assert devices.count(":") == 1  # of the loopback device
