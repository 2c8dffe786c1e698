"""Publication: from the journal to pages in the published tree."""

import json
import multiprocessing
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance import atomic, spec
from appliance.catalog.database import Catalog, CatalogError
from appliance.errors import PyindexError
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.site import publish
from appliance.site.projects import unpublished
from appliance.site.publish import Publisher
from appliance.site.tree import PAGES, Site, page_time
from tests.conftest import Lab
from tests.dist import make_wheel


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return content and mtime of every file below ``root`` but ``.view``, which varies."""
    entries: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        assert not path.is_symlink()
        if path.is_file() and path.name != ".view":
            entries[str(path)] = (path.read_bytes(), int(path.stat().st_mtime))
    return entries


def pages_of(entries: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Return the tree without the mtimes of files that are not pages."""
    return {path: value if "index." in path else value[:1] for path, value in entries.items()}


def test_publication_is_repeatable(lab: Lab) -> None:
    """A second publication writes the same content and page times, as after an interruption."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    before = tree(lab.spec.www)
    Publisher(lab.spec, lab.catalog).publish(everything=True)
    Publisher(lab.spec, lab.catalog).publish(lists=True)
    assert pages_of(tree(lab.spec.www)) == pages_of(before)


def test_lost_tree_is_rebuilt(lab: Lab) -> None:
    """The next start rebuilds a deleted published tree."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    before = tree(lab.spec.www)
    shutil.rmtree(lab.spec.www)
    lab.once()
    assert pages_of(tree(lab.spec.www)) == pages_of(before)


def test_each_change_gives_page_another_etag(lab: Lab) -> None:
    """Each of ten changes within a second gives the page the mtime of its serial."""
    path = make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    first = lab.journal()[0].serial
    seen = set()
    for number in range(10):
        decisions.yank(lab.spec, lab.index, path.name, str(number))
        stat = lab.page_path("foo").stat()
        seen.add((stat.st_mtime, stat.st_size))
        assert f"{int(stat.st_mtime):x}" == str(first + 1 + number)
        for page in PAGES:
            assert lab.page_path("foo", page).stat().st_mtime == stat.st_mtime
    assert len(seen) == 10


def test_page_time_encodes_serial() -> None:
    """The mtime of a page, in hexadecimal as nginx writes it into the ETag, reads as its serial."""
    for serial in (0, 1, 9, 10, 99, 12345678, 79_999_999):
        assert f"{page_time(serial):x}" == str(serial)
        assert page_time(serial) < 1 << 31


def test_full_publication_removes_unknown_files(lab: Lab) -> None:
    """A full publication removes files that belong to no index or project."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    stray = [
        lab.spec.www / "simple" / "ghost" / "index.html",
        lab.spec.www / "packages" / "ghost-1.0.zip",
        lab.spec.www / "packages" / "ghost-1.0.zip.metadata",
        lab.spec.www / "gone" / "simple" / "index.html",
    ]
    for path in stray:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("boo")
    Publisher(lab.spec, lab.catalog).publish(everything=True)
    assert [path for path in stray if path.exists()] == []
    assert lab.files("foo")


def test_failed_batch_changes_nothing(tmp_path: Path) -> None:
    """A batch that raises leaves neither its files nor temporary files."""
    (tmp_path / "a").write_text("old")
    try:
        with atomic.Batch() as batch:
            batch.write(tmp_path / "a", b"new")
            batch.write(tmp_path / "b", b"new")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_damaged_catalog_error_names_rebuild(tmp_path: Path) -> None:
    """The error about a damaged catalog names `pyindex rebuild`."""
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(CatalogError, match="pyindex rebuild"), Catalog(path).read() as reader:
        reader.serial()


def test_publisher_refuses_unrelated_tree(lab: Lab) -> None:
    """The publisher changes nothing in a directory created by others, such as /var/www."""
    unrelated = lab.spec.www / "html" / "index.html"
    unrelated.parent.mkdir(parents=True)
    unrelated.write_text("theirs")
    before = sorted(lab.spec.state.rglob("*"))
    message = f"{lab.spec.www}: not empty and not created by pyindex"
    with pytest.raises(PyindexError, match=message):
        update(lab.spec)
    for attempt in (
        lambda: Site(lab.spec).batch(),
        lambda: Site(lab.spec).tidy(0),
        lambda: Site(lab.spec).remove_tree(unrelated.parent),
    ):
        with pytest.raises(PyindexError, match=message):
            attempt()
    assert sorted(lab.spec.state.rglob("*")) == before


def test_publisher_reports_process_that_holds_lock(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A publisher that waits too long names the process; its change stays recorded."""
    path = make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    monkeypatch.setattr(publish, "_WARN_SECONDS", 0.0)
    monkeypatch.setattr(publish, "_GIVE_UP_SECONDS", 0.1)
    with Publisher(lab.spec, lab.catalog)._lock(), pytest.raises(PyindexError) as caught:
        decisions.yank(lab.spec, lab.index, path.name, "bad")
    assert f"process {os.getpid()} has been publishing for more than 0 seconds" in str(caught.value)
    serial = lab.journal()[-1].serial
    assert f"changes up to serial {serial} are recorded" in str(caught.value)
    assert f"waiting for process {os.getpid()}, which is publishing" in caplog.messages
    Publisher(lab.spec, lab.catalog).publish()
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["yanked"] == "bad"


def test_publisher_without_changes_needs_no_lock(lab: Lab) -> None:
    """A publisher without changes returns while another process holds the lock."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    with Publisher(lab.spec, lab.catalog)._lock():
        assert Publisher(lab.spec, lab.catalog).publish() == lab.journal()[-1].serial
        assert Publisher(lab.spec, lab.catalog).publish(lists=True) == lab.journal()[-1].serial


def test_second_hard_link_is_published(lab: Lab) -> None:
    """A file stays published under its second path after one of two hard links is removed."""
    path = make_wheel(lab.packages, "foo", "1.0")
    (lab.packages / "b").mkdir()
    os.link(path, lab.packages / "b" / path.name)
    lab.once()
    path.unlink()
    lab.once()
    lab.once(again=True)
    page = lab.page("foo")
    assert page is not None
    assert page["files"][0]["url"] == f"../../packages/b/{path.name}"
    assert lab.accepted() == {f"b/{path.name}"}
    assert lab.metadata(f"b/{path.name}")


def test_quarantine_unpublishes_files(lab: Lab) -> None:
    """A quarantine unpublishes files, signatures and metadata until its end."""
    path = make_wheel(lab.packages, "foo", "1.0")
    path.with_name(f"{path.name}.asc").write_text("signature")
    lab.once()
    os.utime(path.with_name(f"{path.name}.asc"), (1, 1))
    metadata = Path(Site(lab.spec).metadata(lab.index, path.name))
    content = metadata.read_bytes()
    for again in (False, True):
        decisions.set_status(lab.spec, lab.index, "foo", "quarantined", "malware")
        if again:
            Publisher(lab.spec, lab.catalog).publish(everything=True)
        assert lab.accepted() == set()
        assert not metadata.exists()
        decisions.set_status(lab.spec, lab.index, "foo", "active", None)
        assert lab.accepted() == {path.name, f"{path.name}.asc"}
        assert metadata.read_bytes() == content


def test_unpublishable_project_does_not_block_others(lab: Lab) -> None:
    """A project that cannot be published keeps its page and does not block others."""
    for name in ("bad", "good"):
        make_wheel(lab.packages, name, "1.0")
    lab.once()
    before = lab.page("bad")
    for name in ("bad", "good"):
        make_wheel(lab.packages, name, "2.0")
    with closing(sqlite3.connect(lab.spec.catalog)) as connection, connection:
        connection.execute("UPDATE project SET display = X'ff', status = X'ff' WHERE name = 'bad'")
    with pytest.raises(PyindexError, match=r"keep their previous pages: main/bad: "):
        lab.once()
    lab.once()
    assert lab.page("bad") == before
    assert len(lab.files("good")) == 2
    assert list(unpublished(lab.spec)) == ["main/bad"]
    with lab.catalog.read() as reader:
        assert reader.mark("pages") == reader.serial()
    with closing(sqlite3.connect(lab.spec.catalog)) as connection, connection:
        connection.execute("UPDATE project SET display = 'bad', status = 'active'")
    Publisher(lab.spec, lab.catalog).publish(everything=True)
    assert len(lab.files("bad")) == 2
    assert unpublished(lab.spec) == {}


def publish_all(given: spec.Spec, times: int) -> None:
    for _ in range(times):
        publisher = Publisher(given, Catalog(given.catalog))
        publisher.publish(everything=True)
        publisher.publish(lists=True)


def yank_often(given: spec.Spec, filename: str, times: int) -> None:
    for number in range(times):
        decisions.yank(given, "main", filename, str(number))


@pytest.mark.integration
def test_concurrent_publishers_keep_serials_ascending(lab: Lab) -> None:
    """Concurrent publishers never decrease a serial and never remove an accepted file."""
    paths = [make_wheel(lab.packages, f"p{number}", "1.0") for number in range(4)]
    lab.once()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=publish_all, args=(lab.spec, 8)) for _ in range(2)]
    processes += [
        context.Process(target=yank_often, args=(lab.spec, path.name, 20)) for path in paths[:2]
    ]
    for process in processes:
        process.start()
    pages = [lab.page_path(name) for name in ("", "p0", "p1", "p2")]
    seen = dict.fromkeys(pages, 0)
    while any(process.is_alive() for process in processes):
        for page in pages:
            serial = json.loads(page.read_bytes())["meta"]["_last-serial"]
            assert serial >= seen[page]
            seen[page] = serial
        assert lab.accepted() == {path.name for path in paths}
        listed = json.loads(pages[0].read_bytes())["projects"]
        for project in listed:
            page = json.loads(lab.page_path(project["name"]).read_bytes())
            assert page["meta"]["_last-serial"] >= project["_last-serial"]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert seen[pages[0]] >= 4
    Publisher(lab.spec, lab.catalog).publish(lists=True)
    assert json.loads(pages[0].read_bytes())["meta"]["_last-serial"] == lab.journal()[-1].serial


@pytest.mark.parametrize("inside", ["simple/foo/mine", "packages/mine.whl", "x/simple/y"])
def test_publisher_refuses_tree_of_similar_names(lab: Lab, inside: str) -> None:
    """The publisher refuses a directory that it did not create, even with names like its own."""
    unrelated = lab.spec.www / inside
    unrelated.parent.mkdir(parents=True)
    unrelated.write_text("theirs")
    with pytest.raises(PyindexError, match="not created by pyindex"):
        lab.once()
    assert unrelated.read_text() == "theirs"
