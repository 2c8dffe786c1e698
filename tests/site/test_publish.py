"""From the journal to pages on disk."""

import json
import multiprocessing
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from appliance import atomic, spec
from appliance.catalog.database import Catalog
from appliance.errors import NotFound, PyindexError
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.site import publish
from appliance.site.projects import unpublished
from appliance.site.publish import Publisher
from appliance.site.tree import PAGES, Site, page_time
from tests.conftest import Lab
from tests.dist import make_wheel


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Every file below ``root`` with its content and mtime; there are no links. The note of a
    view tells one writing of the tree from another."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        assert not path.is_symlink()
        if path.is_file() and path.name != ".view":
            found[str(path)] = (path.read_bytes(), int(path.stat().st_mtime))
    return found


def pages_of(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Without the mtimes of other files than pages, which are those of their writing."""
    return {path: value if "index." in path else value[:1] for path, value in found.items()}


def test_publishing_again_writes_the_same_bytes_and_times(lab: Lab) -> None:
    """A page is a function of the catalog: an interrupted publication is repaired by the next."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    before = tree(lab.spec.www)
    Publisher(lab.spec, lab.catalog).publish(everything=True)
    Publisher(lab.spec, lab.catalog).publish_lists()
    assert pages_of(tree(lab.spec.www)) == pages_of(before)


def test_a_lost_tree_is_made_again(lab: Lab) -> None:
    """All of ``www`` is derived; whoever deletes it gets it back at the next start."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    before = tree(lab.spec.www)
    shutil.rmtree(lab.spec.www)
    lab.once()
    assert pages_of(tree(lab.spec.www)) == pages_of(before)


def test_each_rewriting_has_another_etag(lab: Lab) -> None:
    """Ten changes in one second give ten mtimes, and each spells its serial."""
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


def test_the_time_of_a_page_spells_its_serial() -> None:
    """nginx writes the mtime in hexadecimal into the ETag: there it reads as the serial."""
    for serial in (0, 1, 9, 10, 99, 12345678, 79_999_999):
        assert f"{page_time(serial):x}" == str(serial)
        assert page_time(serial) < 1 << 31


def test_what_is_not_accounted_for_is_swept(lab: Lab) -> None:
    """Leftovers of an earlier spec or a crash are not readable after a full publication."""
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


def test_a_batch_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Files of a batch appear together; an exception leaves neither them nor temporary files."""
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


def two_indexes(tmp_path: Path, bases: str = "[main]") -> spec.Spec:
    for name in ("main", "staging"):
        (tmp_path / name).mkdir(exist_ok=True)
    path = tmp_path / "pyindex.yml"
    path.write_text(
        f"state: {tmp_path}/state\n"
        "indexes:\n"
        f"  main: {{packages: {tmp_path}/main}}\n"
        f"  staging: {{packages: {tmp_path}/staging, bases: {bases}}}\n"
    )
    assert yaml.safe_load(path.read_text())
    return spec.load(path)


def names_on(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line.split(">")[1][:-3] for line in path.read_text().splitlines() if "<a " in line]


def test_the_first_index_that_has_a_project_answers_for_it(tmp_path: Path) -> None:
    """An index shows its base's projects, and never mixes them with its own of the same name."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "common", "1.0")
    make_wheel(tmp_path / "main", "ours", "9.0")
    own = make_wheel(tmp_path / "staging", "ours", "1.0")
    update(both)
    www = both.www
    assert names_on(www / "staging/simple/ours/index.html") == [own.name]
    assert names_on(www / "staging/simple/common/index.html") == ["common-1.0-py2.py3-none-any.whl"]
    assert names_on(www / "simple/ours/index.html") == ["ours-9.0-py2.py3-none-any.whl"]
    assert names_on(www / "staging/simple/index.html") == ["common", "ours"]
    assert 'href="/packages/common-1.0' in (www / "staging/simple/common/index.html").read_text()

    own.unlink()
    update(both)
    assert names_on(www / "staging/simple/ours/index.html") == ["ours-9.0-py2.py3-none-any.whl"]
    (tmp_path / "main" / "ours-9.0-py2.py3-none-any.whl").unlink()
    update(both)
    assert not (www / "staging/simple/ours").exists()


def staged(both: spec.Spec) -> tuple[list[str] | None, int]:
    """What the index staging shows of the project ours, and its serial."""
    page = both.www / "staging/simple/ours/index.json"
    if not page.exists():
        return None, 0
    data = json.loads(page.read_text())
    return [file["filename"] for file in data["files"]], data["meta"]["_last-serial"]


def test_no_base_answers_for_a_file_that_is_refused(tmp_path: Path) -> None:
    """A project keeps its index while a file of it lies there, though it cannot be taken in; the
    serial that readers see never runs backwards."""
    both = two_indexes(tmp_path)
    theirs = make_wheel(tmp_path / "main", "ours", "9.0")
    own = tmp_path / "staging" / "ours-1.0-py2.py3-none-any.whl"
    serials = [0]
    for content, shown in (
        (b"half", []),
        (make_wheel(tmp_path, "ours", "1.0").read_bytes(), [own.name]),
        (b"", []),
        (None, [theirs.name]),
    ):
        own.unlink(missing_ok=True) if content is None else own.write_bytes(content)
        update(both)
        files, serial = staged(both)
        assert files == shown
        serials.append(serial)
        listed = json.loads((both.www / "staging/simple/index.json").read_text())["projects"]
        assert [each["_last-serial"] for each in listed] == [serial]
    assert serials == sorted(set(serials))


def test_who_removes_the_last_file_is_told_who_answers_then(tmp_path: Path) -> None:
    """Nothing of the name is left: the base has it, unless a status keeps it."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "ours", "9.0")
    make_wheel(tmp_path / "staging", "ours", "1.0")
    update(both)
    removed = [file for file, _ in decisions.remove(both, "staging", "ours==1.0")]
    assert list(decisions.answers_after_removal(both, "staging", removed)) == [
        "ours: no files remain in staging, so its base main answers; to keep the name, run"
        " `pyindex status-set --index staging ours archived`"
    ]
    assert staged(both)[0] == ["ours-9.0-py2.py3-none-any.whl"]
    decisions.set_status(both, "staging", "ours", "archived", None)
    assert staged(both)[0] == []


def test_a_decision_about_a_base_s_project_says_whose_it_is(tmp_path: Path) -> None:
    """What an index shows of a base is decided there."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "ours", "9.0")
    update(both)
    with pytest.raises(NotFound) as caught:
        decisions.yank(both, "staging", "ours==9.0", "")
    said = "index staging: project 'ours' not found; found in main, pass --index main"
    assert str(caught.value) == said


def test_a_change_of_the_spec_writes_all_anew(tmp_path: Path) -> None:
    """An index that lost its base shows no more of it."""
    update(two_indexes(tmp_path))
    make_wheel(tmp_path / "main", "common", "1.0")
    update(two_indexes(tmp_path))
    alone = two_indexes(tmp_path, "[]")
    assert (alone.www / "staging/simple/common").exists()
    update(alone)
    assert not (alone.www / "staging/simple/common").exists()
    assert names_on(alone.www / "staging/simple/index.html") == []


def test_an_unreadable_catalog_says_what_to_do(tmp_path: Path) -> None:
    """A damaged catalog is an explained failure, not a traceback."""
    path = tmp_path / "catalog.sqlite"
    path.write_bytes(b"this is no database" * 100)
    try:
        with Catalog(path).read() as reader:
            reader.serial()
    except Exception as error:
        assert "pyindex rebuild" in str(error)
    else:
        raise AssertionError("a damaged catalog was read")


def test_a_tree_that_is_not_ours_is_refused(lab: Lab) -> None:
    """``state: /var`` does not cost /var/www; nothing is written or removed before that is seen."""
    theirs = lab.spec.www / "html" / "index.html"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    before = sorted(lab.spec.state.rglob("*"))
    message = f"{lab.spec.www}: not empty and not created by pyindex"
    with pytest.raises(PyindexError, match=message):
        update(lab.spec)
    for attempt in (
        lambda: Site(lab.spec).batch(),
        lambda: Site(lab.spec).tidy(0),
        lambda: Site(lab.spec).remove_tree(theirs.parent),
    ):
        with pytest.raises(PyindexError, match=message):
            attempt()
    assert sorted(lab.spec.state.rglob("*")) == before


def test_who_waits_for_the_lock_says_for_whom_and_not_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A change is recorded whoever holds the lock, and is published by the next who has it."""
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


def test_who_has_nothing_to_publish_waits_for_nobody(lab: Lab) -> None:
    """It is one look into the catalog, for a watcher that asks often."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    with Publisher(lab.spec, lab.catalog)._lock():
        assert Publisher(lab.spec, lab.catalog).publish() == lab.journal()[-1].serial
        assert not Publisher(lab.spec, lab.catalog).publish_lists()


def test_of_two_hard_links_the_other_stays(lab: Lab) -> None:
    """One file under two paths, one of them removed, then all made anew: it can be fetched."""
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


def test_files_of_a_quarantined_project_cannot_be_fetched(lab: Lab) -> None:
    """Neither file nor metadata, whoever knows the URL; afterwards they can as before."""
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


def test_a_project_that_cannot_be_published_stops_no_other(lab: Lab) -> None:
    """It keeps its page, is named, and the rest is up to date; mended, it is published."""
    for name in ("bad", "good"):
        make_wheel(lab.packages, name, "1.0")
    lab.once()
    before = lab.page("bad")
    for name in ("bad", "good"):
        make_wheel(lab.packages, name, "2.0")
    with closing(sqlite3.connect(lab.spec.catalog)) as connection, connection:
        connection.execute("UPDATE project SET display = X'ff', status = X'ff' WHERE name = 'bad'")
    with pytest.raises(PyindexError, match=r"keep the pages that they had: main/bad: "):
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
        publisher.publish_lists()


def yank_often(given: spec.Spec, filename: str, times: int) -> None:
    for number in range(times):
        decisions.yank(given, "main", filename, str(number))


def test_publishers_beside_one_another_lose_nothing(lab: Lab) -> None:
    """Some make all anew while others change: no page's serial runs backwards, no list's does,
    and what a page shows can be fetched."""
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
    Publisher(lab.spec, lab.catalog).publish_lists()
    assert json.loads(pages[0].read_bytes())["meta"]["_last-serial"] == lab.journal()[-1].serial


@pytest.mark.parametrize("inside", ["simple/foo/mine", "packages/mine.whl", "x/simple/y"])
def test_a_tree_that_looks_like_ours_is_not(lab: Lab, inside: str) -> None:
    """Any static index has directories of these names."""
    theirs = lab.spec.www / inside
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    with pytest.raises(PyindexError, match="not created by pyindex"):
        lab.once()
    assert theirs.read_text() == "theirs"
