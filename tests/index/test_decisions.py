"""Yank, status, remove; and what a rebuild keeps of them."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.errors import NotFound, PyindexError
from appliance.index import decisions
from appliance.index.recover import rebuild
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel


@pytest.fixture
def foo(lab: Lab) -> Lab:
    """An index with two releases of foo."""
    make_wheel(lab.packages, "foo", "1.0")
    make_sdist(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "foo", "2.0")
    lab.once()
    return lab


def yanked(lab: Lab) -> dict[str, object]:
    page = lab.page("foo")
    assert page is not None
    return {file["filename"]: file["yanked"] for file in page["files"]}


def spoil(catalog: Path, table: str) -> None:
    """Overwrite the first page of a table, as a bad disk might."""
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        page = connection.execute(query, (table,)).fetchone()[0]
    with catalog.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


WHEEL_1, SDIST_1, WHEEL_2 = (
    "foo-1.0-py2.py3-none-any.whl",
    "foo-1.0.tar.gz",
    "foo-2.0-py2.py3-none-any.whl",
)


def test_a_release_is_yanked_and_back(foo: Lab) -> None:
    """All files of a release carry the reason; undoing it clears them (PEP 592)."""
    assert decisions.yank(foo.spec, foo.index, "Foo==1", "broken") == [WHEEL_1, SDIST_1]
    assert yanked(foo) == {WHEEL_1: "broken", SDIST_1: "broken", WHEEL_2: False}
    assert decisions.yank(foo.spec, foo.index, WHEEL_2, "") == [WHEEL_2]
    assert yanked(foo)[WHEEL_2] is True
    decisions.yank(foo.spec, foo.index, "foo==1.0", None)
    assert yanked(foo) == {WHEEL_1: False, SDIST_1: False, WHEEL_2: True}
    assert [c.action for c in foo.journal()[3:]] == ["yanked"] * 3 + ["unyanked"] * 2


def test_yanking_twice_is_one_change(foo: Lab) -> None:
    """What is so already gets no line in the journal."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    assert decisions.yank(foo.spec, foo.index, WHEEL_1, "x") == []
    assert len(foo.journal()) == 4


def test_a_file_that_comes_back_is_still_yanked(foo: Lab) -> None:
    """A decision is about a file name, and outlives the file."""
    decisions.yank(foo.spec, foo.index, WHEEL_2, "bad")
    path = foo.packages / WHEEL_2
    content = path.read_bytes()
    path.unlink()
    foo.once()
    path.write_bytes(content)
    foo.once()
    assert yanked(foo)[WHEEL_2] == "bad"


def test_a_removed_file_is_in_the_trash(foo: Lab) -> None:
    """Removing loses nothing: the file lies under the state directory, the journal tells it."""
    content = (foo.packages / WHEEL_2).read_bytes()
    [(file, trash)] = decisions.remove(foo.spec, foo.index, "foo==2.0")
    assert file.filename == WHEEL_2
    assert Path(trash).read_bytes() == content
    assert Path(trash).parent == foo.spec.state / "trash"
    assert not (foo.packages / WHEEL_2).exists()
    assert foo.files("foo") == [WHEEL_1, SDIST_1]
    foo.once()
    assert [c.action for c in foo.journal()].count("removed") == 1


def test_a_status_is_shown(foo: Lab) -> None:
    """PEP 792: a status with a reason stands on the page; quarantine withholds the files."""
    decisions.set_status(foo.spec, foo.index, "Foo", "quarantined", "malware")
    page = foo.page("foo")
    assert page is not None
    assert page["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert page["files"] == []
    decisions.set_status(foo.spec, foo.index, "foo", "active", None)
    assert len(foo.files("foo")) == 3


def test_a_reason_is_one_line_of_text(foo: Lab) -> None:
    """It is shown to people, on pages and in terminals."""
    with pytest.raises(PyindexError) as caught:
        decisions.yank(foo.spec, foo.index, WHEEL_1, "x\x1b[31m")
    assert str(caught.value) == (
        "reason: wanted one line without control characters, got 'x\\x1b[31m'"
    )
    with pytest.raises(PyindexError):
        decisions.set_status(foo.spec, foo.index, "foo", "archived", "two\nlines")
    decisions.yank(foo.spec, foo.index, WHEEL_1, "très mauvais — <b>")


def test_a_copy_that_takes_the_place_is_named(foo: Lab) -> None:
    """A duplicate was refused while the file was there, and is served when it is removed."""
    (foo.packages / "copies").mkdir()
    make_wheel(foo.packages / "copies", "foo", "2.0", modules={"m": "other"})
    foo.once()
    removed = [file for file, _ in decisions.remove(foo.spec, foo.index, WHEEL_2)]
    assert list(decisions.instead(foo.spec, foo.index, removed)) == [
        f"{WHEEL_2}: the copy at copies/{WHEEL_2} is served now"
    ]


UNKNOWN = [
    ("nothing-1.0.zip", "has no file 'nothing-1.0.zip'; a release is PROJECT==VERSION"),
    ("bar==1.0", "has no project 'bar'"),
    ("foo==3.0", "project foo has no release '3.0'; its newest are 1.0, 2.0"),
]


@pytest.mark.parametrize(("what", "message"), UNKNOWN)
def test_what_is_not_there_is_named(foo: Lab, what: str, message: str) -> None:
    """An unknown file, project or release changes nothing, and says what there is."""
    with pytest.raises(NotFound) as caught:
        decisions.yank(foo.spec, foo.index, what, "")
    assert message in str(caught.value)
    with pytest.raises(NotFound):
        decisions.remove(foo.spec, foo.index, what)
    assert len(foo.journal()) == 3


def test_a_rebuild_of_a_sound_catalog_changes_nothing(foo: Lab) -> None:
    """All files are read again; what they say is known already."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    before = [(path, path.read_bytes()) for path in sorted(foo.spec.www.rglob("index.*"))]
    journal = foo.journal()
    assert list(rebuild(foo.spec)) == ["main: 1 projects, 3 files"]
    assert [(path, path.read_bytes()) for path in sorted(foo.spec.www.rglob("index.*"))] == before
    assert foo.journal() == journal


def test_a_rebuild_corrects_facts_that_the_catalog_has_wrong(foo: Lab) -> None:
    """A file changed behind our back, with size and mtime kept, is found out by reading it."""
    path = foo.packages / WHEEL_2
    status = path.stat()
    content = bytearray(path.read_bytes())
    spot = content.index(b"__version__")
    content[spot : spot + 3] = b"___"
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    foo.once()
    assert len(foo.journal()) == 3
    list(rebuild(foo.spec))
    assert foo.journal()[-1].action in ("replaced", "removed")


def test_a_rebuild_of_a_damaged_catalog_keeps_what_can_be_read(foo: Lab) -> None:
    """The damaged file is kept; decisions and serials go on where they were."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    serial = foo.journal()[-1].serial
    spoil(foo.spec.catalog, "file")
    said = list(rebuild(foo.spec))
    assert "taken over: 1 rows of yank, 1 rows of project, 4 rows of journal" in said
    assert yanked(foo) == {WHEEL_1: "x", SDIST_1: False, WHEEL_2: False}
    assert foo.journal()[4].serial == serial + 1


def test_a_rebuild_of_a_catalog_that_is_no_database_begins_anew(foo: Lab) -> None:
    """With nothing to read, the facts come from the folder, and serials never run backwards."""
    for suffix in ("-wal", "-shm"):
        foo.spec.catalog.with_name(foo.spec.catalog.name + suffix).unlink(missing_ok=True)
    # Another file: a connection that was not collected yet would mend the old one as it closes.
    other = foo.spec.state / "other"
    other.write_bytes(b"no database at all" * 400)
    other.replace(foo.spec.catalog)
    said = list(rebuild(foo.spec))
    assert any("kept as" in line for line in said)
    assert len(list(foo.spec.state.glob("catalog.sqlite.damaged-*"))) >= 1
    assert foo.files("foo") == [WHEEL_1, SDIST_1, WHEEL_2]
    assert foo.journal()[0].serial == 4
