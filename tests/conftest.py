"""What many tests need: an index in a temporary directory."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from appliance import spec
from appliance.index.catalog import Catalog
from appliance.index.model import Change
from appliance.index.store import Site
from appliance.index.watch import Watch
from appliance.spec import Spec

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

    def refused(self) -> dict[str, str]:
        """Paths of refused files, with the reasons."""
        with self.catalog.read() as reader:
            return {refusal.path: refusal.reason for refusal in reader.refusals(self.index)}

    def journal(self) -> list[Change]:
        with self.catalog.read() as reader:
            return reader.changes(0)


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


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def eventually(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until ``condition`` holds; fail after far more time than it should take."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)
