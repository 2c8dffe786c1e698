"""Scans: a packages directory becomes an index, and stays in step with it."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.operations.watchlock import is_watched
from tests.conftest import Lab, eventually
from tests.dist import make_sdist, make_wheel


def test_scan_publishes_each_file(lab: Lab) -> None:
    """Every file at any depth is on its project's page with its digests."""
    (lab.packages / "old" / "deep").mkdir(parents=True)
    wheel = make_wheel(lab.packages, "Foo.Bar", "1.0", requires_python=">=3.6")
    make_sdist(lab.packages / "old" / "deep", "foo-bar", "0.9")
    lab.once()
    page = lab.page("foo-bar")
    assert page is not None
    assert page["versions"] == ["0.9", "1.0"]
    old, new = page["files"]
    assert old["url"] == "../../packages/old/deep/foo-bar-0.9.tar.gz"
    assert new["hashes"] == {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert new["requires-python"] == ">=3.6"
    assert lab.projects() == ["foo-bar"]  # as the file that came last spells it


def test_links_of_page_exist(lab: Lab) -> None:
    """Each link leads to the file's bytes, and promised metadata has its digest."""
    wheel = make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    page = lab.page("foo")
    assert page is not None
    link = lab.page_path("foo").parent / page["files"][0]["url"]
    path = os.path.relpath(os.path.normpath(link), lab.spec.www / "packages")
    assert lab.served(path) == wheel.read_bytes()
    metadata = Path(os.path.normpath(f"{link}.metadata")).read_bytes()
    assert metadata == lab.metadata(path)
    digest = page["files"][0]["core-metadata"]["sha256"]
    assert hashlib.sha256(metadata).hexdigest() == digest


def test_packages_directory_is_not_written(lab: Lab) -> None:
    """The watcher writes nothing into the packages directory."""
    make_wheel(lab.packages, "foo", "1.0")
    before = sorted(lab.packages.rglob("*"))
    lab.once()
    assert sorted(lab.packages.rglob("*")) == before


def test_unchanged_files_are_not_read_again(lab: Lab) -> None:
    """A second scan opens no file whose size, mtime and inode are unchanged."""
    path = make_wheel(lab.packages, "foo", "1.0")
    bad = lab.packages / "bad-1.0.zip"
    bad.write_bytes(b"no")
    lab.once()
    opened = []
    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
    lab.once()
    assert str(path) not in map(str, opened)
    assert str(bad) not in map(str, opened)


def test_changed_file_is_read_again(lab: Lab) -> None:
    """Other bytes under the same name are a change, with an entry in the journal."""
    make_wheel(lab.packages, "foo", "1.0", summary="one")
    lab.once()
    first = lab.page("foo")
    make_wheel(lab.packages, "foo", "1.0", summary="another")
    lab.once()
    second = lab.page("foo")
    assert first is not None
    assert second is not None
    assert first["files"][0]["hashes"] != second["files"][0]["hashes"]
    assert [change.action for change in lab.journal()] == ["added", "replaced"]


def test_deleted_file_is_unpublished(lab: Lab) -> None:
    """With its last file a project's page, links and metadata are removed; the journal has an
    entry."""
    path = make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    path.unlink()
    lab.once()
    assert lab.page("foo") is None
    assert lab.projects() == ["bar"]
    assert path.name not in lab.accepted()
    assert [p.name for p in (lab.spec.www / "packages").iterdir() if "foo" in p.name] == []
    assert [change.action for change in lab.journal()] == ["added", "added", "removed"]


def test_moved_file_keeps_facts(lab: Lab) -> None:
    """A file that only changes its directory is not examined again."""
    path = make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    (lab.packages / "sub").mkdir()
    path.rename(lab.packages / "sub" / path.name)
    lab.once()
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["url"] == f"../../packages/sub/{path.name}"
    assert lab.accepted() == {f"sub/{path.name}"}
    assert lab.metadata(f"sub/{path.name}").startswith(b"Metadata-Version")
    assert [change.action for change in lab.journal()] == ["added", "moved"]


def refuse_truncated(folder: Path) -> str:
    path = make_wheel(folder, "foo", "1.0")
    os.truncate(path, 100)
    return path.name


def refuse_name(folder: Path) -> str:
    (folder / "notes.txt").write_text("hello")
    return "notes.txt"


def refuse_link_out(folder: Path) -> str:
    outside = make_wheel(folder.parent, "foo", "1.0")
    (folder / outside.name).symlink_to(outside)
    return outside.name


def refuse_dead_link(folder: Path) -> str:
    (folder / "foo-1.0.zip").symlink_to("nowhere")
    return "foo-1.0.zip"


def refuse_link_to_directory(folder: Path) -> str:
    (folder / "new").mkdir()
    (folder / "latest").symlink_to("new")
    return "latest"


def refuse_fifo(folder: Path) -> str:
    os.mkfifo(folder / "foo-1.0.zip")
    return "foo-1.0.zip"


def refuse_duplicate(folder: Path) -> str:
    (folder / "z").mkdir()
    path = make_wheel(folder, "foo", "1.0")
    shutil.copy(path, folder / "z")
    return f"z/{path.name}"


def refuse_signature(folder: Path) -> str:
    (folder / "foo-1.0.zip.asc").write_text("-----BEGIN PGP SIGNATURE-----")
    return "foo-1.0.zip.asc"


def refuse_directory(folder: Path) -> str:
    (folder / "foo-1.0.zip").mkdir()
    return "foo-1.0.zip"


def refuse_control_character(folder: Path) -> str:
    (folder / "foo\n-1.0.zip").write_bytes(b"")
    return r"foo\n-1.0.zip"


def refuse_not_utf8(folder: Path) -> str:
    Path(os.fsdecode(os.fsencode(folder) + b"/fo\xff-1.0.zip")).write_bytes(b"")
    return r"fo\udcff-1.0.zip"


REFUSED = [
    (refuse_truncated, "truncated or damaged"),
    (refuse_name, "not a package file"),
    (refuse_link_out, "leads out of the packages directory"),
    (refuse_dead_link, "broken symbolic link"),
    (refuse_fifo, "not a regular file"),
    (refuse_link_to_directory, "symbolic link to a directory, which is not followed"),
    (refuse_duplicate, "duplicate"),
    (refuse_signature, "without foo-1.0.zip beside it"),
    (refuse_directory, "named like a package file"),
    (refuse_control_character, "control characters"),
    (refuse_not_utf8, "not UTF-8"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_rejected_file_is_listed_with_reason(
    lab: Lab, make: "object", reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A rejected file stays in its directory, is not served, and is logged once."""
    assert callable(make)
    path = make(lab.packages)
    good = make_wheel(lab.packages, "good", "1.0")
    lab.once()
    lab.once()
    assert list(lab.refused()) == [path]
    assert reason in lab.refused()[path]
    assert lab.files("good") == [good.name]
    assert path not in lab.accepted()
    assert sum(path in record.getMessage() for record in caplog.records) == 1


def test_duplicate_replaces_deleted_file(lab: Lab) -> None:
    """After the deletion of a file its duplicate is accepted."""
    path = make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / "z").mkdir()
    shutil.copy(path, lab.packages / "z")
    lab.once()
    path.unlink()
    lab.once()
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["url"] == f"../../packages/z/{path.name}"
    assert lab.refused() == {}


def test_repaired_file_is_accepted(lab: Lab) -> None:
    """A rejected file is accepted after its bytes are repaired."""
    whole = make_wheel(lab.packages, "foo", "1.0").read_bytes()
    path = lab.packages / "foo-1.0-py2.py3-none-any.whl"
    path.write_bytes(whole[:200])
    lab.once()
    assert lab.refused()
    path.write_bytes(whole)
    lab.once()
    assert lab.refused() == {}
    assert lab.files("foo") == [path.name]


def test_signature_is_published(lab: Lab) -> None:
    """An .asc file shows as gpg-sig and is served, until it is deleted."""
    path = make_wheel(lab.packages, "foo", "1.0")
    signature = lab.packages / f"{path.name}.asc"
    lab.once()
    signature.write_text("-----BEGIN PGP SIGNATURE-----")
    lab.once()
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["gpg-sig"] is True
    assert lab.served(signature.name).startswith(b"-----BEGIN")
    signature.unlink()
    lab.once()
    page = lab.page("foo")
    assert page is not None
    assert "gpg-sig" not in page["files"][0]
    assert signature.name not in lab.accepted()


def test_link_inside_directory_is_served(lab: Lab) -> None:
    """A symbolic link that stays in the packages directory is served like its target."""
    hidden = lab.packages / ".pool"
    hidden.mkdir()
    path = make_wheel(hidden, "foo", "1.0")
    (lab.packages / path.name).symlink_to(path)
    lab.once()
    assert lab.files("foo") == [path.name]


def test_missing_directory_keeps_pages(lab: Lab) -> None:
    """A missing packages directory deletes no file from the index."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    lab.packages.rename(lab.packages.with_name("elsewhere"))
    with pytest.raises(Exception, match="not found; mount or create it"):
        lab.once()
    assert lab.files("foo") == ["foo-1.0-py2.py3-none-any.whl"]


def test_watcher_publishes_changes(lab: Lab) -> None:
    """The watcher publishes files that are copied, moved, written slowly and deleted."""
    with lab.watched():
        eventually(lambda: is_watched(lab.spec))
        first = make_wheel(lab.packages, "foo", "1.0")
        eventually(lambda: lab.files("foo") == [first.name])
        outside = make_wheel(lab.packages.parent, "foo", "1.1")
        outside.rename(lab.packages / outside.name)
        eventually(lambda: len(lab.files("foo")) == 2)
        (lab.packages / "new").mkdir()
        make_wheel(lab.packages / "new", "bar", "2.0")
        eventually(lambda: lab.files("bar"))
        shutil.rmtree(lab.packages / "new")
        eventually(lambda: lab.page("bar") is None)
        first.unlink()
        eventually(lambda: lab.files("foo") == [outside.name])
        eventually(lambda: lab.projects() == ["foo"])
    assert not is_watched(lab.spec)


def test_unfinished_file_is_not_published(lab: Lab) -> None:
    """A file that is being written is published only when it is complete."""
    whole = make_sdist(lab.packages.parent, "slow", "1.0").read_bytes()
    seen = set()
    with lab.watched():
        eventually(lambda: is_watched(lab.spec))
        with (lab.packages / "slow-1.0.tar.gz").open("wb", buffering=0) as file:
            for start in range(0, len(whole), 40):
                file.write(whole[start : start + 40])
                subprocess.run(["sleep", "0.1"], check=True)
                seen.add(tuple(lab.files("slow")))
        eventually(lambda: lab.files("slow"))
    page = lab.page("slow")
    assert page is not None
    assert seen == {()}
    assert page["files"][0]["hashes"]["sha256"] == hashlib.sha256(whole).hexdigest()


def test_many_files_are_accepted_at_once(lab: Lab) -> None:
    """Many files are distributed to several examiners, and all are accepted."""
    for number in range(150):
        make_wheel(lab.packages, f"p{number % 15}", f"1.{number}")
    (lab.packages / "bad-1.0.zip").write_bytes(b"no")
    lab.once()
    assert sum(len(lab.files(f"p{number}")) for number in range(15)) == 150
    assert list(lab.refused()) == ["bad-1.0.zip"]
    serials = [change.serial for change in lab.journal()]
    assert serials == list(range(serials[0], serials[0] + 151))


def test_published_files_are_readable_for_others(lab: Lab) -> None:
    """Published files have mode 0644 whatever the umask, as nginx runs as another user."""
    make_wheel(lab.packages, "foo", "1.0")
    old = os.umask(0o077)
    try:
        lab.once()
    finally:
        os.umask(old)
    for path in lab.spec.www.rglob("*"):
        wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        assert path.stat().st_mode & wanted == wanted, path
