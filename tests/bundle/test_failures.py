"""Bundles of files that change or cannot be read, full disks, and two commands at once."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from appliance import spec
from appliance.bundle.load import load
from appliance.bundle.write import write
from appliance.errors import PyindexError
from tests.bundle.sides import Sides, furnish, seen
from tests.conftest import Lab
from tests.dist import make_wheel
from tests.wholeness import agree, package_files

UNCHANGED = ("packages", "metadata", "receipts", "record", "log")
STEP = 150_000  # bytes more on a full disk at each attempt
WHEEL = "p0-1.0-py2.py3-none-any.whl"


def altered(path: Path) -> None:
    """Change one byte, and neither size nor mtime."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_directory_that_is_missing_is_not_created(both: Sides, tmp_path: Path) -> None:
    """Where no medium is mounted, nothing is written in its place."""
    both.near.once()
    medium = tmp_path / "medium"
    with pytest.raises(PyindexError) as error:
        write(medium / "lab.tar", both.near.spec, both.near.index)
    message = f"{medium}: no such directory; mount the medium, or create it"
    assert str(error.value) == message
    assert not medium.exists()


@pytest.mark.parametrize("change", ["altered", "longer", "removed", "link out"])
def test_file_that_changed_is_not_bundled(both: Sides, change: str) -> None:
    """A file that is not what the catalog says ends the command, and nothing is left."""
    both.near.once()
    path = both.near.packages / WHEEL
    with both.near.catalog.read() as reader:
        file = reader.file(both.near.index, WHEEL)
    assert file is not None
    message = (
        f"{path}: not the content that the catalog has, with sha256 {file.sha256}; run `pyindex"
        " verify`, or bundle again when the file is complete"
    )
    if change == "altered":
        altered(path)
    elif change == "longer":
        path.write_bytes(path.read_bytes() + b"more")
    else:
        path.unlink()
        message = f"{path}: No such file or directory; run `pyindex verify`"
        if change == "link out":
            path.symlink_to("/etc/passwd")
            message = f"{path}: Too many levels of symbolic links; run `pyindex verify`"
    with pytest.raises(PyindexError) as error:
        write(both.out, both.near.spec, both.near.index)
    assert str(error.value) == message
    assert list(both.stick.iterdir()) == []


def test_signature_that_is_no_text_of_its_size_is_not_bundled(both: Sides) -> None:
    """A signature of more than 64 KiB ends the command."""
    (both.near.packages / "sub" / "q-1.0.tar.gz.asc").write_bytes(bytes(70_000))
    with pytest.raises(PyindexError) as error:
        both.bundle()
    assert str(error.value) == (
        f"{both.near.packages}/sub/q-1.0.tar.gz.asc: larger than 64 KiB; delete it"
    )


def test_bundle_that_is_being_written_is_not_written_twice(both: Sides) -> None:
    """A second command for the same output is an error, and the first is not disturbed."""
    both.near.once()
    with (both.stick / ".out.tar.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PyindexError) as error:
            write(both.out, both.near.spec, both.near.index)
        assert str(error.value) == (
            f"{both.stick}/.out.tar.part: another command is writing it; wait until it has ended"
        )
    write(both.out, both.near.spec, both.near.index)
    assert both.load().new


def test_second_load_at_the_same_time_is_refused(both: Sides) -> None:
    """While a load is running, another one is an error."""
    both.bundle()
    both.far.once()
    with (both.far.spec.state / "load.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PyindexError) as error:
            both.load()
    assert str(error.value) == (
        f"state directory {both.far.spec.state}: another load is running; wait until it has ended"
    )


def test_full_disk_leaves_no_bundle(both: Sides, small_disk: Path) -> None:
    """A disk that is full while a bundle is written is an error, and nothing is left on it."""
    make_wheel(both.near.packages, "big", "1.0", modules={"big": "x" * 5_000_000})
    both.near.once()
    with pytest.raises(PyindexError) as error:
        write(small_disk / "out.tar", both.near.spec, both.near.index)
    assert str(error.value) == (
        f"{small_disk}/out.tar: No space left on device; nothing was written"
    )
    assert list(small_disk.iterdir()) == []


@pytest.mark.integration
@pytest.mark.parametrize("on_disk", ["packages", "state"])
def test_full_disk_loads_nothing(tmp_path: Path, small_disk: Path, on_disk: str) -> None:
    """A disk that is full at any moment of a load is an error, and nothing is visible of it; with
    space again the load succeeds."""
    (tmp_path / "near").mkdir()
    near = Lab(tmp_path / "near")
    furnish(near)
    for number in range(6):
        make_wheel(near.packages, f"r{number}", "1.0", modules={"r": "x" * 100_000})
    near.once()
    write(tmp_path / "out.tar", near.spec, near.index)

    places = {"packages": tmp_path / "packages", "state": tmp_path / "state"}
    places[on_disk] = small_disk / on_disk
    places["packages"].mkdir()
    far = Lab.__new__(Lab)
    far.packages = places["packages"]
    far.spec = spec.for_directory(far.packages, places["state"])
    make_wheel(far.packages, "own", "1.0")
    far.once()

    before = seen(far)
    failed = _fill(far, small_disk, tmp_path / "out.tar", before)
    assert failed > 2
    agree(far)


def _fill(far: Lab, disk: Path, bundle: Path, before: dict[str, object]) -> int:
    """Load with ever more space until it succeeds; return how often it failed."""
    filler, size = disk / "filler", shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    for attempt in range(30):
        os.truncate(filler, max(0, size - attempt * STEP))
        try:
            load(far.spec, far.index, [bundle])
        except (OSError, PyindexError):
            assert set(far.projects()) == {"own"}
            now = seen(far)
            is_loaded = len(package_files(far)) == 12  # and not published yet
            assert is_loaded == bool(now["receipts"])
            assert is_loaded or [now[key] for key in UNCHANGED] == [
                before[key] for key in UNCHANGED
            ]
        else:
            return attempt
    raise AssertionError("did not succeed")
