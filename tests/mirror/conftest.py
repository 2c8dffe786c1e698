"""An upstream to mirror from: `pyindex serve` on a packages directory of small projects."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dist import make_sdist
from tests.integration.servers import Server, embedded, wait_until
from tests.mirror.projects import write_project
from tests.resolution.universe import Release, Scenario

WHEEL = {"requires_python": None, "sdist": False}
LINUX = ("cp312-cp312-manylinux_2_17_x86_64",)
WINDOWS = ("cp312-cp312-win_amd64",)


def release(*requires: str, **facts: object) -> Release:
    """A wheel for every Python, unless *facts* say otherwise."""
    return Release(requires=requires, **(WHEEL | facts))  # type: ignore[arg-type]


RELEASES = {
    ("app", "1.0"): release("lib>=1", "native", "only-windows; sys_platform == 'win32'"),
    ("lib", "1.0"): release(),
    ("lib", "2.0"): release(),
    ("lib", "3.0b1"): release(),
    ("native", "1.0"): release(wheel_tags=LINUX + WINDOWS),
    ("only-windows", "1.0"): release(wheel_tags=WINDOWS),
    ("source", "1.0"): release("lib<2", wheel=False, sdist=True, build=("builder",)),
    ("builder", "1.0"): release(wheel=False, sdist=True, build=("builder-base>=1",)),
    ("builder-base", "1.1"): release(),
    ("withdrawn", "1.0"): release(yanked=True),
    ("extra", "1.0"): release(extras={"more": ["lib==1.0"]}),
    ("dead-end", "1.0"): release("nowhere>=3"),
}
REASON = "do not use"


@pytest.fixture(autouse=True)
def without_pip_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's configuration of pip may have settings that a note is about."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The served upstream; its files are of 2018, and withdrawn 1.0 is yanked."""
    root = tmp_path_factory.mktemp("upstream")
    packages = root / "packages"
    Scenario("upstream", RELEASES, ()).write(packages)
    make_sdist(packages, "canary", "1.0", requires=["lib"])
    with embedded(packages, root) as server:
        server.command("yank", "withdrawn==1.0", "--reason", REASON)
        wait_until(f"{server.url}/simple/withdrawn/", "data-yanked")
        yield server


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An empty packages directory to mirror into."""
    directory = tmp_path / "mirrored"
    directory.mkdir()
    return directory


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file to which each build of :mod:`tests.mirror.projects` adds a line."""
    return tmp_path / "trace"


@pytest.fixture
def project(tmp_path: Path, trace: Path) -> Path:
    """A project that requires what the upstream has."""
    return write_project(tmp_path / "mine", "mine", trace, requires=("lib>=1",))
