"""Decisions: yank, remove, status."""

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


def test_yank_and_unyank_release(foo: Lab) -> None:
    """All files of a release carry the reason; unyanking clears it (PEP 592)."""
    assert decisions.yank(foo.spec, foo.index, "Foo==1", "broken") == [WHEEL_1, SDIST_1]
    assert yanked(foo) == {WHEEL_1: "broken", SDIST_1: "broken", WHEEL_2: False}
    assert decisions.yank(foo.spec, foo.index, WHEEL_2, "") == [WHEEL_2]
    assert yanked(foo)[WHEEL_2] is True
    decisions.yank(foo.spec, foo.index, "foo==1.0", None)
    assert yanked(foo) == {WHEEL_1: False, SDIST_1: False, WHEEL_2: True}
    assert [c.action for c in foo.journal()[3:]] == ["yanked"] * 3 + ["unyanked"] * 2


def test_yanking_twice_is_one_change(foo: Lab) -> None:
    """A second yank with the same reason adds no journal entry."""
    decisions.yank(foo.spec, foo.index, WHEEL_1, "x")
    assert decisions.yank(foo.spec, foo.index, WHEEL_1, "x") == []
    assert len(foo.journal()) == 4


def test_returning_file_is_still_yanked(foo: Lab) -> None:
    """A decision belongs to a file name, and survives the deletion of the file."""
    decisions.yank(foo.spec, foo.index, WHEEL_2, "bad")
    path = foo.packages / WHEEL_2
    content = path.read_bytes()
    path.unlink()
    foo.once()
    path.write_bytes(content)
    foo.once()
    assert yanked(foo)[WHEEL_2] == "bad"


def test_remove_moves_file_to_trash(foo: Lab) -> None:
    """A removed file is in the trash of the state directory, with a journal entry."""
    content = (foo.packages / WHEEL_2).read_bytes()
    [(file, trash)] = decisions.remove(foo.spec, foo.index, "foo==2.0")
    assert file.filename == WHEEL_2
    assert Path(trash).read_bytes() == content
    assert Path(trash).parent == foo.spec.state / "trash"
    assert not (foo.packages / WHEEL_2).exists()
    assert foo.files("foo") == [WHEEL_1, SDIST_1]
    foo.once()
    assert [c.action for c in foo.journal()].count("removed") == 1


def test_status_is_published(foo: Lab) -> None:
    """A status and its reason are on the page; quarantine withholds the files (PEP 792)."""
    decisions.set_status(foo.spec, foo.index, "Foo", "quarantined", "malware")
    page = foo.page("foo")
    assert page is not None
    assert page["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert page["files"] == []
    decisions.set_status(foo.spec, foo.index, "foo", "active", None)
    assert len(foo.files("foo")) == 3


def test_reason_is_one_line(foo: Lab) -> None:
    """A reason with control characters is rejected."""
    with pytest.raises(PyindexError) as caught:
        decisions.yank(foo.spec, foo.index, WHEEL_1, "x\x1b[31m")
    assert str(caught.value) == (
        "reason: expected one line without control characters, got 'x\\x1b[31m'"
    )
    with pytest.raises(PyindexError):
        decisions.set_status(foo.spec, foo.index, "foo", "archived", "two\nlines")
    decisions.yank(foo.spec, foo.index, WHEEL_1, "très mauvais — <b>")


def test_remove_reports_duplicate(foo: Lab) -> None:
    """The duplicate that is served after a removal is reported."""
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
def test_unknown_name_is_reported(foo: Lab, what: str, message: str) -> None:
    """An unknown file, project or release changes nothing, and the error lists what exists."""
    (foo.packages / "broken-1.0.zip").write_bytes(b"no archive")
    foo.once()
    journal = foo.journal()
    with pytest.raises(NotFound) as caught:
        decisions.yank(foo.spec, foo.index, what, "")
    assert message in str(caught.value)
    with pytest.raises(NotFound):
        decisions.remove(foo.spec, foo.index, what)
    assert foo.journal() == journal


def test_remove_follows_no_link(foo: Lab, tmp_path: Path) -> None:
    """A directory that became a symbolic link is not followed to another file."""
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
    """A directory that replaced a file is not moved."""
    path = make_wheel(foo.packages, "bar", "1.0")
    foo.once()
    path.unlink()
    path.mkdir()
    with pytest.raises(PyindexError, match="Is a directory"):
        decisions.remove(foo.spec, foo.index, path.name)
    assert path.is_dir()
