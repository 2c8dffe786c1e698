"""Uploads that are cut off, that meet, or whose process is killed."""

import os
import threading

import pytest

from appliance.uploads import commit, spool
from appliance.uploads.receive import Upload
from appliance.uploads.refused import Refused
from tests.uploads.conftest import Inbox
from tests.uploads.forms import CONTENT_TYPE, encode, of_file

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def test_upload_that_is_cut_off_leaves_nothing(inbox: Inbox) -> None:
    """An upload that ends at any tenth of its form is refused, and leaves nothing."""
    body = of_file(inbox.wheel("foo", "1.0"), "foo", "1.0")
    for tenth in range(10):
        with pytest.raises(Refused, match=r"^The form is malformed or incomplete"):
            inbox.send(body[: len(body) * tenth // 10])
        assert inbox.contents() == []
    assert inbox.journal() == []


def test_one_of_many_uploads_of_a_name_wins(inbox: Inbox) -> None:
    """Of uploads of one name with different bytes exactly one wins, whole; others leave nothing."""
    bodies, lock = [], threading.Lock()
    for number in range(12):
        path = inbox.wheel("foo", "1.0", summary=f"number {number}")
        bodies.append((of_file(path, "foo", "1.0"), path.read_bytes()))
    outcomes: list[bytes | str] = []

    def send(body: bytes, content: bytes) -> None:
        try:
            inbox.send(body)
            outcome: bytes | str = content
        except Refused as error:
            outcome = str(error)
        with lock:
            outcomes.append(outcome)

    threads = [threading.Thread(target=send, args=each) for each in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [winner] = [each for each in outcomes if isinstance(each, bytes)]
    assert inbox.served(WHEEL) == winner
    losers = [each for each in outcomes if isinstance(each, str)]
    assert all(each.startswith("File already exists") for each in losers)
    assert len(losers) == 11
    assert inbox.contents() == [WHEEL]


def placed(inbox: Inbox) -> Upload:
    """Return an upload whose file is placed, and not in the catalog: that of a killed process."""
    upload = inbox.uploads.begin(inbox.index, CONTENT_TYPE)
    upload.feed(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))
    assert upload._spool is not None
    upload._spool.complete(WHEEL, {".asc": b"-----BEGIN PGP SIGNATURE-----"})
    upload._spool.place()
    return upload


def forget(upload: Upload) -> None:
    """Let go of an upload as its process does at its end, and leave its files."""
    assert upload._spool is not None
    os.close(upload._spool._lock)
    upload._spool = None


def test_scan_leaves_out_file_of_unfinished_upload(inbox: Inbox) -> None:
    """A scan does not accept a placed file that no transaction has added."""
    upload = placed(inbox)
    inbox.once()
    assert (inbox.packages / WHEEL).exists()
    assert (inbox.files("foo"), inbox.refused()) == ([], {})
    forget(upload)


def test_files_of_killed_uploads_are_taken_away(inbox: Inbox) -> None:
    """A process removes what killed uploads have placed, and not what running ones have."""
    forget(placed(inbox))
    (inbox.packages / ".pyindex-uploads" / "0123").mkdir()
    running = inbox.uploads.begin(inbox.index, CONTENT_TYPE)
    running.feed(encode({}, "bar-1.0.zip", b"x" * 100)[:-20])

    commit.recover(inbox.spec, inbox.catalog)
    [lock] = [each for each in inbox.contents() if each.endswith(".lock")]
    assert [each for each in inbox.contents() if not each.startswith(".")] == []
    running.close()
    assert not (inbox.packages / lock).exists()
    assert inbox.contents() == []


def test_file_that_was_added_before_kill_stays(inbox: Inbox) -> None:
    """A file that a killed upload has added to the catalog stays."""
    body = of_file(inbox.wheel("foo", "1.0"), "foo", "1.0")
    inbox.send(body)
    directory = inbox.packages / ".pyindex-uploads" / "0123"
    directory.mkdir(parents=True)
    (directory / ".lock").touch()
    os.link(inbox.packages / WHEEL, directory / WHEEL)

    commit.recover(inbox.spec, inbox.catalog)
    assert inbox.contents() == [WHEEL]
    inbox.once()
    assert inbox.files("foo") == [WHEEL]


@pytest.mark.parametrize("is_added", [True, False])
def test_file_is_moved_where_there_are_no_links(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, is_added: bool
) -> None:
    """On a file system without links a file is moved to its place, and recovered as well."""

    def refuse(*_paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    if is_added:
        inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))
        assert inbox.contents() == [WHEEL]
        return
    forget(placed(inbox))
    inbox.once()
    assert (inbox.files("foo"), inbox.refused()) == ([], {})
    commit.recover(inbox.spec, inbox.catalog)
    assert inbox.contents() == []


def test_failed_transaction_leaves_nothing(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload whose transaction fails is not stored, and leaves nothing."""

    def fail(_paths: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(commit, "sync_paths", fail)
    with pytest.raises(Refused, match=r"^The server cannot store files now; its log says why$"):
        inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))
    assert (inbox.contents(), inbox.journal()) == ([], [])


def test_placed_file_is_taken_away_as_soon_as_possible(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A placed file of a failed upload that cannot be removed yet is not accepted meanwhile."""

    def fail(path: object) -> None:
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as failing, pytest.raises(Refused, match=r"^The server cannot"):
        failing.setattr(commit, "sync_paths", fail)
        failing.setattr(spool, "unlink", fail)
        inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))

    inbox.once()
    assert (WHEEL in inbox.contents(), inbox.files("foo")) == (True, [])
    commit.recover(inbox.spec, inbox.catalog)
    assert inbox.contents() == []


def test_placed_file_waits_for_a_catalog_that_can_be_read(inbox: Inbox) -> None:
    """A placed file of a killed upload is not accepted where the catalog could not be asked."""
    forget(placed(inbox))
    aside = inbox.spec.catalog.with_suffix(".aside")
    inbox.catalog.close()
    inbox.spec.catalog.rename(aside)
    commit.recover(inbox.spec, inbox.catalog)
    aside.rename(inbox.spec.catalog)

    inbox.once()
    assert (WHEEL in inbox.contents(), inbox.files("foo")) == (True, [])
    commit.recover(inbox.spec, inbox.catalog)
    assert inbox.contents() == []


def test_stored_file_that_is_not_published_is_sent_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is stored and cannot be published gets 503; sent again, it is published."""
    body = of_file(inbox.wheel("foo", "1.0"), "foo", "1.0")
    with monkeypatch.context() as patch:
        patch.setattr(
            inbox.uploads.committer._publisher,
            "publish",
            lambda lists: (_ for _ in ()).throw(OSError(5, "x")),
        )
        with pytest.raises(Refused, match=r"^The file is stored and not published yet") as raised:
            inbox.send(body)
    assert raised.value.status == 503
    inbox.send(body)
    assert inbox.files("foo") == [WHEEL]
