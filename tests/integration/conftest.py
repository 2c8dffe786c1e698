"""The index that the clients meet, and the clients."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .clients import CLIENTS, Environments, build
from .dist import make_sdist, make_wheel, uploaded
from .servers import Server, embedded


@pytest.fixture(scope="session")
def environments(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environments]:
    """Hands out environments by client name; two at a time are built ahead of the tests' need."""
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    wanted = dict.fromkeys(call.params["client"] for call in calls if "client" in call.params)
    pool = ThreadPoolExecutor(2)
    for name in wanted:
        pool.submit(build, CLIENTS[name])
    yield Environments(tmp_path_factory.mktemp("environments"))
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small projects, each there for one rule."""
    folder = tmp_path_factory.mktemp("packages")
    make_wheel(folder, "demo", "1.0")
    make_wheel(folder, "demo", "1.1", requires=["Demo_Base (>=1.0,<2)"], summary="Shows what a fortnight is")
    for version in ("1.0", "1.5", "2.0"):
        make_wheel(folder, "Demo_Base", version)
    make_sdist(folder, "Old.Sdist", "1.0", requires=["demo_base<2"])
    make_wheel(folder, "choosy", "1.0", requires_python=">=2.7")
    make_wheel(folder, "choosy", "2.0", requires_python=">=4")
    make_wheel(folder, "retracted", "1.0")
    make_wheel(folder, "retracted", "1.1")
    make_wheel(folder, "bar.demo", "1.0")
    make_wheel(folder, "local-demo", "1.0")
    make_wheel(folder, "local-demo", "1.0+cpu.1")
    uploaded(make_wheel(folder, "dated", "1.0"), "2020-01-01T12:00:00Z")
    uploaded(make_wheel(folder, "dated", "2.0"), "2024-01-01T12:00:00Z")
    lines = "".join(f"# line {number:>70}\n" for number in range(50_000))
    make_wheel(folder, "large", "1.0", modules={"large": f"{lines}__version__ = '1.0'\n"})
    return folder


@pytest.fixture(scope="session")
def embedded_server(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``pyindex serve`` on the folder of small projects."""
    with embedded(packages, tmp_path_factory.mktemp("serve") / "state") as server:
        yield server


@pytest.fixture(scope="session", params=["embedded"])
def server(request: pytest.FixtureRequest) -> Server:
    """The same index by each of its two servers."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server
