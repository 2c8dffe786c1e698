"""Yank, status, remove."""

from pathlib import Path

import pytest

from appliance.errors import NotFound, PyindexError
from appliance.operations import decisions
from tests.conftest import Lab
from tests.dist import make_wheel


def yanked(lab: Lab) -> dict[str, object]:
    page = lab.page("foo")
    assert page is not None
    return {file["filename"]: file["yanked"] for file in page["files"]}


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
        "reason: expected one line without control characters, got 'x\\x1b[31m'"
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
    assert list(decisions.answers_after_removal(foo.spec, foo.index, removed)) == [
        f"{WHEEL_2}: now served from copies/{WHEEL_2}"
    ]


UNKNOWN = [
    ("nothing-1.0.zip", "file 'nothing-1.0.zip' not found; a release is PROJECT==VERSION"),
    ("bar==1.0", "project 'bar' not found"),
    ("foo==3.0", "project foo: release '3.0' not found; newest releases: 1.0, 2.0"),
    ("broken==1.0", "project broken: release '1.0' not found; none of its files is accepted"),
]


@pytest.mark.parametrize(("what", "message"), UNKNOWN)
def test_what_is_not_there_is_named(foo: Lab, what: str, message: str) -> None:
    """An unknown file, project or release changes nothing, and says what there is."""
    (foo.packages / "broken-1.0.zip").write_bytes(b"no archive")
    foo.once()
    journal = foo.journal()
    with pytest.raises(NotFound) as caught:
        decisions.yank(foo.spec, foo.index, what, "")
    assert message in str(caught.value)
    with pytest.raises(NotFound):
        decisions.remove(foo.spec, foo.index, what)
    assert foo.journal() == journal


def test_remove_moves_no_file_from_elsewhere(foo: Lab, tmp_path: Path) -> None:
    """A directory that has become a link to another is not followed to somebody else's file."""
    (foo.packages / "sub").mkdir()
    path = make_wheel(foo.packages / "sub", "bar", "1.0")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    other = make_wheel(theirs, "bar", "1.0")
    foo.once()
    (foo.packages / "sub").rename(tmp_path / "away")
    (foo.packages / "sub").symlink_to(theirs)
    with pytest.raises(PyindexError, match="Too many levels of symbolic links"):
        decisions.remove(foo.spec, foo.index, path.name)
    assert other.exists()
    assert list(foo.spec.state.glob("trash/*")) == []


def test_remove_moves_no_directory(foo: Lab) -> None:
    """What came into the place of a file is not what was meant."""
    path = make_wheel(foo.packages, "bar", "1.0")
    foo.once()
    path.unlink()
    path.mkdir()
    with pytest.raises(PyindexError, match="Is a directory"):
        decisions.remove(foo.spec, foo.index, path.name)
    assert path.is_dir()
