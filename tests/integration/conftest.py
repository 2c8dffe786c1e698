"""Fixtures: the index that clients install from, and the clients."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.clients import CLIENTS, Environments, build
from tests.integration.projects import YANK_REASON, make_projects
from tests.integration.servers import Server, behind_nginx, embedded, wait_until


@pytest.fixture(scope="session")
def built_ahead(request: pytest.FixtureRequest) -> Iterator[None]:
    """Build the environments of the selected tests, two at a time, while tests run."""
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    clients = [call.params.get("client") for call in calls]
    names = dict.fromkeys(client for client in clients if client in CLIENTS)
    pool = ThreadPoolExecutor(2)
    for name in names:
        pool.submit(build, CLIENTS[name])
    yield
    pool.shutdown(cancel_futures=True)


@pytest.fixture
def environments(built_ahead: None, tmp_path: Path) -> Iterator[Environments]:
    """Factory of environments by client name; they are deleted after the test."""
    scratch = tmp_path / "clients"
    yield Environments(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages directory of small projects, each for one rule."""
    directory = tmp_path_factory.mktemp("packages")
    make_projects(directory)
    return directory


@pytest.fixture(scope="session", params=[embedded, behind_nginx], ids=lambda form: form.__name__)
def server(
    request: pytest.FixtureRequest, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Index of the small projects, from the embedded server and through nginx."""
    with request.param(packages, tmp_path_factory.mktemp("server")) as running:
        running.command("yank", "retracted==1.1", "--reason", YANK_REASON)
        wait_until(f"{running.url}/simple/retracted/", "data-yanked")
        yield running
