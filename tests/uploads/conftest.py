"""Fixtures of uploads: an index that accepts them, without HTTP."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.index.model import Actor
from appliance.uploads.commit import Sender
from appliance.uploads.receive import Uploads
from tests.conftest import Lab
from tests.dist import make_wheel
from tests.uploads.forms import CONTENT_TYPE

ALICE = Sender(Actor("alice", "192.0.2.7"), "alice")


class Inbox(Lab):
    """Index that accepts uploads, scanned when it was empty."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        section = self.spec.indexes[self.index].model_copy(update={"upload": ("alice",)})
        self.spec = self.spec.model_copy(update={"indexes": {self.index: section}})
        self.outside = root / "outside"
        self.outside.mkdir()
        self.once()
        self.uploads = Uploads(self.spec, self.catalog)

    def send(self, body: bytes, sender: Sender = ALICE, step: int = 1 << 16) -> int:
        """Upload a form; return the serial of the pages that have its file."""
        with closing(self.uploads.begin(self.index, CONTENT_TYPE)) as upload:
            for start in range(0, len(body), step):
                upload.feed(body[start : start + step])
            return upload.store(upload.form(), lambda release: sender)

    def wheel(self, name: str, version: str, **options: str) -> Path:
        """Make a wheel outside of the packages directory."""
        return make_wheel(self.outside, name, version, **options)  # type: ignore[arg-type]

    def contents(self) -> list[str]:
        """Return the names in the packages directory, also hidden ones."""
        return sorted(str(path.relative_to(self.packages)) for path in self.packages.rglob("*"))


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


Send = Callable[[bytes], int]
