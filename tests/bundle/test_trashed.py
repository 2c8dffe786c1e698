"""``pyindex trash``: removed files are listed, and return to their index."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from appliance.bundle.trashed import listed, restore
from appliance.cli import main
from appliance.errors import NotFound, PyindexError
from appliance.operations import decisions, trash
from appliance.spec import Spec
from tests.bundle.test_promotion import SDIST, WHEEL, page, staged, tree
from tests.conftest import Lab, eventually
from tests.dist import make_wheel

__all__ = ["staged"]


def test_removed_release_returns(staged: Spec) -> None:
    """All files of a removed release return to their paths, with signature, upload time, yank and
    origin; the trash is empty then."""
    before = page(staged, "staging")
    top = staged.indexes["staging"].packages
    names = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
    decisions.remove(staged, "staging", "foo==1.0")
    assert page(staged, "staging").keys() == {"foo-2.0-py2.py3-none-any.whl"}
    assert len(list(staged.trash.iterdir())) == 4
    assert restore(staged, "Foo==1") == ("staging", [WHEEL, f"sub/{SDIST}"])
    assert page(staged, "staging") == before
    assert {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()} == names
    assert list(staged.trash.iterdir()) == []


def test_last_removed_file_of_a_name_returns(foo: Lab) -> None:
    """Of two removed files of one name the last one returns; the other stays in the trash."""
    path = foo.packages / WHEEL
    decisions.remove(foo.spec, foo.index, WHEEL)
    make_wheel(foo.packages, "foo", "1.0", summary="second")
    foo.once()
    content = path.read_bytes()
    decisions.remove(foo.spec, foo.index, WHEEL)
    restore(foo.spec, WHEEL)
    assert path.read_bytes() == content
    assert [each.file.filename for each in listed(foo.spec)] == [WHEEL]


def test_file_in_the_way_is_kept(foo: Lab) -> None:
    """Where another file has the name now, nothing returns and nothing is lost."""
    decisions.remove(foo.spec, foo.index, WHEEL)
    make_wheel(foo.packages, "foo", "1.0", summary="second")
    foo.once()
    content = (foo.packages / WHEEL).read_bytes()
    with pytest.raises(PyindexError, match="has other content under the same names"):
        restore(foo.spec, WHEEL)
    assert (foo.packages / WHEEL).read_bytes() == content
    assert len(listed(foo.spec)) == 1


def test_changed_file_in_the_trash_does_not_return(foo: Lab) -> None:
    """A file whose content changed in the trash is an error."""
    decisions.remove(foo.spec, foo.index, WHEEL)
    (path,) = foo.spec.trash.iterdir()
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PyindexError, match="not the content that the manifest has"):
        restore(foo.spec, WHEEL)
    assert path.exists()


def test_index_is_asked_for(staged: Spec) -> None:
    """Files of one name that were removed from two indexes need the name of the index."""
    target = staged.indexes["main"].packages
    shutil.copy2(staged.indexes["staging"].packages / WHEEL, target / WHEEL)
    assert main(["watch", "--once", "-c", str(staged.state.parent / "pyindex.yml")]) == 0
    for index in ("staging", "main"):
        decisions.remove(staged, index, WHEEL)
    with pytest.raises(PyindexError, match="was removed from main and staging; pass --index"):
        restore(staged, WHEEL)
    assert restore(staged, WHEEL, "main") == ("main", [WHEEL])
    assert tree(staged) == {WHEEL}


def test_unknown_name_is_reported(foo: Lab) -> None:
    """A name of no removed file is an error that names the list."""
    with pytest.raises(NotFound, match=r"no removed file 'x'; see `pyindex trash list`"):
        restore(foo.spec, "x")


def test_commands_print_what_they_did(foo: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """`list` shows index, name, user and path of removed files; `restore` the returned ones."""
    source = ["-d", str(foo.packages), "--state", str(foo.spec.state)]
    assert main(["remove", WHEEL, *source]) == 0
    capsys.readouterr()
    assert main(["trash", "list", *source]) == 0
    words = capsys.readouterr().out.split()
    assert words[2:4] == ["main", WHEEL]
    assert Path(words[-1]).parent == foo.spec.trash
    assert main(["trash", "list", "--json", *source]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["index"], row["path"], len(row["sha256"])) == ("main", WHEEL, 64)
    assert main(["trash", "restore", WHEEL, *source]) == 0
    assert capsys.readouterr().out == f"main: restored {WHEEL}\n"


@pytest.mark.parametrize("across", [False, True])
def test_watcher_does_not_record_removal(
    foo: Lab, monkeypatch: pytest.MonkeyPatch, across: bool
) -> None:
    """With a watcher, a removal is still recorded once, with its actor; also if the trash is on
    another file system."""

    def rename(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))

    if across:
        monkeypatch.setattr(trash.os, "rename", rename)  # type: ignore[attr-defined]
    with foo.watched():
        eventually(lambda: foo.catalog)
        decisions.remove(foo.spec, foo.index, "foo==1.0")
        make_wheel(foo.packages, "bar", "1.0")
        eventually(lambda: foo.files("bar"))
    removed = [change.actor for change in foo.journal() if change.action == "removed"]
    assert len(removed) == 2
    assert all(removed)
