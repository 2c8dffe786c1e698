"""Uploads killed before the Nth change: the whole file stays, or nothing of it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.catalog.database import Catalog
from appliance.incoming.arriving import UPLOADS
from appliance.operations.update import update
from appliance.uploads import commit
from tests.faults.commands import MUTATING, PATIENCE, Call, calls, killing, spread, tracing
from tests.uploads.conftest import Inbox
from tests.uploads.forms import of_file

KILLS = 24
WHEEL = "foo-1.0-py2.py3-none-any.whl"
COMPANIONS = [f"{WHEEL}.asc"]
UPLOADING = """
import sys
from pathlib import Path
from appliance import spec
from appliance.catalog.database import Catalog
from appliance.index.model import Actor
from appliance.uploads.commit import Sender
from appliance.uploads.receive import Uploads

given = spec.load(Path(sys.argv[1]))
uploads = Uploads(given, Catalog(given.catalog))
upload = uploads.begin("main", "multipart/form-data; boundary=0f7e1b")
upload.feed(Path(sys.argv[2]).read_bytes())
upload.store(upload.form(), lambda release: Sender(Actor("alice"), "alice"))
print("stored")
upload.close()
"""


class Site:
    """An index that accepts uploads, with the form of one."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.inbox = Inbox(root)
        self.spec = root / "pyindex.yml"
        self.spec.write_text(
            f"state: {self.inbox.spec.state}\n"
            f"indexes: {{main: {{packages: {self.inbox.packages}, upload: [alice]}}}}\n"
        )
        self.content = (wheel := self.inbox.wheel("foo", "1.0")).read_bytes()
        signature = "-----BEGIN PGP SIGNATURE-----\n"
        self.body = of_file(wheel, "foo", "1.0", gpg_signature=signature)
        self.form = root / "form"
        self.form.write_bytes(self.body)

    def upload(self, options: Sequence[str]) -> tuple[int, str]:
        """Upload in a process under strace; return its exit status and output."""
        done = subprocess.run(
            ["strace", *options, sys.executable, "-c", UPLOADING, str(self.spec), str(self.form)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    def check(self, must_have: bool) -> None:
        """Check that the file is whole and published, or that nothing of it is there."""
        inbox = self.inbox
        if inbox.files("foo") or must_have:
            assert inbox.served(WHEEL) == self.content
            assert inbox.files("foo") == [WHEEL]
            assert inbox.contents() == [WHEEL, *COMPANIONS]
        else:
            assert inbox.contents() == []
        assert inbox.refused() == {}


@pytest.fixture(scope="module")
def killed(strace: None, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Calls of an upload, before which others are killed."""
    root = tmp_path_factory.mktemp("up")
    site = Site(root / "traced")
    code, output = site.upload(tracing(MUTATING, root / "trace"))
    assert (code, output) == (0, "stored\n")
    return spread(calls(root / "trace", root, changing=True), KILLS, seed=1)


@pytest.mark.parametrize("left", [WHEEL, *COMPANIONS])
def test_upload_killed_at_its_end_keeps_its_files(left: str, tmp_path: Path) -> None:
    """A stored upload that was killed while its directory was removed, with one file left in it,
    keeps its file and what is beside it; the directory is removed."""
    site = Site(tmp_path / "site")
    site.inbox.send(site.body)
    directory = site.inbox.packages / UPLOADS / "0123456789abcdef"
    directory.mkdir(parents=True)
    (directory / ".lock").touch()
    os.link(site.inbox.packages / left, directory / left)
    commit.recover(site.inbox.spec, Catalog(site.inbox.spec.catalog))
    update(site.inbox.spec)
    site.check(must_have=True)


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_upload_is_whole_or_absent(killed: list[Call], number: int, tmp_path: Path) -> None:
    """A scan beside the killed upload and a recovery leave the whole file or nothing."""
    site = Site(tmp_path / "site")
    code, output = site.upload(killing(killed[number]))
    assert code != 0, killed[number]

    update(site.inbox.spec)  # as a watcher does: it accepts no file that was not added
    is_listed = bool(site.inbox.files("foo"))
    commit.recover(site.inbox.spec, Catalog(site.inbox.spec.catalog))
    update(site.inbox.spec)
    assert bool(site.inbox.files("foo")) == is_listed, killed[number]
    site.check(must_have=output == "stored\n")

    site.inbox.send(site.body)
    site.check(must_have=True)
