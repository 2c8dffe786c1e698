"""Fixtures and helpers shared by many tests: an index in a temporary directory."""

import gc
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa

from appliance import spec
from appliance.catalog import schema
from appliance.catalog.database import Catalog
from appliance.catalog.readiness import scan_mark
from appliance.index.model import Change
from appliance.operations.update import update
from appliance.operations.watch import Watcher
from appliance.site.tree import Site
from appliance.spec import Spec
from tests.dist import make_sdist, make_wheel

HELPERS = ("attacks", "faults", "hosts", "integration", "nginx", "wholeness")
pytest.register_assert_rewrite(*(f"tests.{name}" for name in HELPERS))  # readable failures

# No test asserts a duration: the machine may be busy with other work.
hypothesis.settings.register_profile(
    "pyindex", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pyindex")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in these directories run real servers, or kill real processes: they are slow ones."""
    for item in items:
        if item.path.parent.name in ("attacks", "faults", "nginx"):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def _garbage_is_collected() -> Iterator[None]:
    """`pyindex mirror` collects garbage seldom: in the process of the tests, catalogs that nothing
    uses would stay open until there is no descriptor below 1024."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)


@pytest.fixture(scope="session", autouse=True)
def _statements_are_compiled_once() -> Iterator[None]:
    """SQLAlchemy compiles each statement once per engine, and a test run opens thousands of
    catalogs: their engines share what it compiled."""
    open_engine = schema.open_engine
    first = open_engine(Path("unused"))

    def open_sharing(*arguments: Any, **options: Any) -> sa.Engine:
        engine = open_engine(*arguments, **options)
        engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "open_engine", open_sharing)
        yield


class Lab:
    """Index of one packages directory, with the client's view of its pages."""

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.packages = root / "packages"
        self.packages.mkdir()
        self.spec: Spec = spec.for_directory(self.packages, state or root / "state")

    @property
    def index(self) -> str:
        return self.spec.root

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.spec.catalog)

    def once(self, again: bool = False) -> None:
        """Scan the packages directory once and publish."""
        update(self.spec, reread=again)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Run a watcher in a thread during the context."""
        with watched(Watcher(self.spec)):
            yield

    def page_path(self, project: str, name: str = "index.json") -> Path:
        return Site(self.spec).simple(self.index) / project / name

    def page(self, project: str) -> dict[str, Any] | None:
        """Return the project's JSON page, or ``None`` if there is none."""
        try:
            page: dict[str, Any] = json.loads(self.page_path(project).read_bytes())
        except FileNotFoundError:
            return None
        return page

    def files(self, project: str) -> list[str]:
        """Return the file names on a project's page."""
        page = self.page(project)
        return [] if page is None else [file["filename"] for file in page["files"]]

    def projects(self) -> list[str]:
        """Return the names on the project list."""
        listed = json.loads((Site(self.spec).simple(self.index) / "index.json").read_bytes())
        return [project["name"] for project in listed["projects"]]

    def served(self, path: str) -> bytes:
        """Return the bytes that a client gets; raise FileNotFoundError if it gets none."""
        if not Site(self.spec).is_accepted(self.index, path):
            raise FileNotFoundError(path)
        return (self.packages / path).read_bytes()

    def metadata(self, path: str) -> bytes:
        """Return published core metadata (PEP 658); raise FileNotFoundError without any."""
        if not Site(self.spec).is_accepted(self.index, path):
            raise FileNotFoundError(path)
        return Path(Site(self.spec).metadata(self.index, path)).read_bytes()

    def accepted(self) -> set[str]:
        """Return the paths of all files that a client may fetch."""
        top = Path(Site(self.spec).marker(self.index, ""))
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}

    def refused(self) -> dict[str, str]:
        """Return the reasons of rejections by path."""
        with self.catalog.read() as reader:
            return {refusal.path: refusal.reason for refusal in reader.rejections(self.index)}

    def journal(self) -> list[Change]:
        """Return the changes without the first line, which only defines the first serial."""
        with self.catalog.read() as reader:
            return [change for change in reader.changes(0) if change.action != "begun"]


@contextmanager
def watched(watching: Watcher) -> Iterator[None]:
    """Run the watcher in a thread during the context."""
    thread = threading.Thread(target=watching.run)
    thread.start()
    try:
        yield
    finally:
        watching.stop()
        thread.join()


def scanned(of: Spec) -> None:
    """Mark all indexes as scanned in full, as a watcher does."""
    for name in of.indexes:
        Catalog(of.catalog).set_mark(scan_mark(of, name), 1)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def foo(lab: Lab) -> Lab:
    """Index with two releases of foo."""
    make_wheel(lab.packages, "foo", "1.0")
    make_sdist(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "foo", "2.0")
    lab.once()
    return lab


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount point of a tmpfs of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def eventually(condition: Callable[[], object], seconds: float = 240) -> None:
    """Wait until ``condition`` holds; fail after a time that suffices even on a busy machine."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(pause)
        pause = min(1.5 * pause, 0.1)  # conditions cost more than what they wait for
