"""What many tests need: an index in a temporary directory."""

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

from appliance import spec
from appliance.catalog.database import Catalog
from appliance.catalog.readiness import scan_mark
from appliance.index.model import Change
from appliance.operations.watch import Watch
from appliance.site.tree import Site
from appliance.spec import Spec
from tests.dist import make_sdist, make_wheel

HELPERS = ("attacks", "faults", "hosts", "integration", "nginx", "wholeness")
pytest.register_assert_rewrite(*(f"tests.{name}" for name in HELPERS))  # what they compared shows

# No test asserts a time: a machine may be busy with something else, for as long as it likes.
hypothesis.settings.register_profile(
    "pyindex", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pyindex")


class Lab:
    """An index of one folder, and what a reader of its pages sees."""

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
        """Bring catalog and pages up to the folder."""
        Watch(self.spec).once(again)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Follow the folder meanwhile."""
        with watched(Watch(self.spec)):
            yield

    def page_path(self, project: str, name: str = "index.json") -> Path:
        return Site(self.spec).simple(self.index) / project / name

    def page(self, project: str) -> dict[str, Any] | None:
        """The project's JSON page; ``None`` if there is none."""
        try:
            page: dict[str, Any] = json.loads(self.page_path(project).read_bytes())
        except FileNotFoundError:
            return None
        return page

    def files(self, project: str) -> list[str]:
        """The names of the files on a project's page."""
        page = self.page(project)
        return [] if page is None else [file["filename"] for file in page["files"]]

    def projects(self) -> list[str]:
        """The names on the project list."""
        listed = json.loads((Site(self.spec).simple(self.index) / "index.json").read_bytes())
        return [project["name"] for project in listed["projects"]]

    def served(self, path: str) -> bytes:
        """What who fetches a package file gets; FileNotFoundError if it may not be fetched."""
        if not Site(self.spec).is_accepted(self.index, path):
            raise FileNotFoundError(path)
        return (self.packages / path).read_bytes()

    def metadata(self, path: str) -> bytes:
        """Its metadata (PEP 658), likewise."""
        if not Site(self.spec).is_accepted(self.index, path):
            raise FileNotFoundError(path)
        return Path(Site(self.spec).metadata(self.index, path)).read_bytes()

    def accepted(self) -> set[str]:
        """The paths of all that may be fetched."""
        top = Path(Site(self.spec).marker(self.index, ""))
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}

    def refused(self) -> dict[str, str]:
        """Paths of refused files, with the reasons."""
        with self.catalog.read() as reader:
            return {refusal.path: refusal.reason for refusal in reader.rejections(self.index)}

    def journal(self) -> list[Change]:
        """The changes; the first line, which says where serials begin, is none."""
        with self.catalog.read() as reader:
            return [change for change in reader.changes(0) if change.action != "begun"]


@contextmanager
def watched(watching: Watch) -> Iterator[None]:
    """Run it in a thread meanwhile."""
    thread = threading.Thread(target=watching.run)
    thread.start()
    try:
        yield
    finally:
        watching.stop()
        thread.join()


def scanned(of: Spec) -> None:
    """Note that all of its indexes were scanned in full, as a watcher does."""
    for name in of.indexes:
        Catalog(of.catalog).set_mark(scan_mark(of, name), 1)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def foo(lab: Lab) -> Lab:
    """An index with two releases of foo."""
    make_wheel(lab.packages, "foo", "1.0")
    make_sdist(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "foo", "2.0")
    lab.once()
    return lab


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def eventually(condition: Callable[[], object], seconds: float = 240) -> None:
    """Wait until ``condition`` holds; fail after far more time than it should take, on a machine
    however busy."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)
