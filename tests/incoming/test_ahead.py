"""Examination ahead of intake: what was examined while it was staged is not read again in its
place, unless it has changed."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from appliance.incoming.ahead import Ahead
from appliance.incoming.directory import PackagesDirectory
from appliance.mirror import taking
from appliance.operations.update import update
from tests.conftest import Lab
from tests.dist import make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def arrive(lab: Lab, name: str, between: Callable[[Path], None] = lambda path: None) -> None:
    """Examine a file of the staging directory, do something to it, and put it in its place."""
    staged = lab.packages / ".staging" / name
    ahead = Ahead()
    ahead.examine(staged.parent, [name, "disappeared.whl"])
    between(staged)
    staged.rename(lab.packages / name)
    update(lab.spec, ahead={lab.index: ahead})


@pytest.fixture
def staging(lab: Lab) -> Path:
    directory = lab.packages / ".staging"
    directory.mkdir()
    return directory


def secretly(path: Path) -> None:
    """Damage a file so that its status does not tell."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def openly(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, (0, 0))


@pytest.mark.parametrize(("damage", "is_read"), [(secretly, False), (openly, True)])
def test_only_changed_files_are_read_again(
    lab: Lab, staging: Path, damage: Callable[[Path], None], is_read: bool
) -> None:
    make_wheel(staging, "foo", "1.0")
    arrive(lab, WHEEL, damage)
    assert lab.files("foo") == ([] if is_read else [WHEEL])
    assert is_read or b"Name: foo" in lab.metadata(WHEEL)


def test_signature_that_is_there_already_is_served(lab: Lab, staging: Path) -> None:
    make_wheel(staging, "foo", "1.0")
    (lab.packages / f"{WHEEL}.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    arrive(lab, WHEEL)
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["gpg-sig"] is True


def test_rejection_is_logged_once_with_the_place(
    lab: Lab, staging: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (staging / WHEEL).write_bytes(b"no archive")
    with caplog.at_level(logging.WARNING):
        arrive(lab, WHEEL)
    (line,) = [each for each in caplog.messages if WHEEL in each]
    assert line.startswith(f"{lab.index}: rejected {WHEEL}: ")


def test_note_is_logged_once_with_the_place(
    lab: Lab, staging: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_wheel(staging, "foo", "1.0", requires_python="three")
    with caplog.at_level(logging.WARNING):
        arrive(lab, WHEEL)
    (line,) = [each for each in caplog.messages if WHEEL in each]
    assert line.startswith(f"{lab.packages / WHEEL}: invalid Requires-Python")


def test_stopped_examination_ends_at_once(lab: Lab, staging: Path) -> None:
    """A thread that examines ends soon after an interrupt, with most files unexamined."""
    names = [make_wheel(staging, f"foo{number}", "1.0").name for number in range(4)]
    ahead = Ahead()
    ahead.stop()
    ahead.examine(staging, names)
    entries = [PackagesDirectory(staging).entry(name) for name in names]
    assert [ahead.take(entry) for entry in entries if entry] == [None] * 4


def test_failure_ahead_costs_only_the_lead(tmp_path: Path) -> None:
    """An examination that cannot be made ends nothing else: intake makes it, or says why not."""

    class Failing(Ahead):
        def examine(self, staging: Path, names: Iterable[str]) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    async def run() -> None:
        waiting: asyncio.Queue[str] = asyncio.Queue()
        for name in (WHEEL, ""):  # the end
            waiting.put_nowait(name)
        await taking._examine(tmp_path, waiting, Failing())

    asyncio.run(run())
