"""Yanks of an upstream, and where files came from: what ``pyindex mirror`` records."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.bundle import read as bundles
from appliance.catalog.database import Catalog
from appliance.cli import main
from appliance.cli.progress import Progress
from appliance.index.model import Origin
from appliance.inputs.demand import Options
from appliance.inputs.reading import from_arguments
from appliance.mirror import taking
from appliance.mirror.mirror import Job
from appliance.mirror.mirror import mirror as run_job
from appliance.operations.update import update
from appliance.spec import for_directory
from appliance.targets.choice import choose
from tests.dist import make_wheel
from tests.integration.servers import Server, embedded, wait_until
from tests.mirror.projects import write_project
from tests.mirror.test_mirror import LINUX, mirror, names

pytestmark = pytest.mark.integration

OLD, NEW = "foo-1.0-py2.py3-none-any.whl", "foo-2.0-py2.py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Server]:
    """An upstream with two releases of foo, which a test may yank."""
    directory = tmp_path / "upstream" / "packages"
    directory.mkdir(parents=True)
    make_wheel(directory, "foo", "1.0")
    make_wheel(directory, "foo", "2.0")
    with embedded(directory, directory.parent) as server:
        yield server


def yank(index: Server, reason: str) -> None:
    index.command("yank", "foo==1.0", "--reason", reason)


def run(packages: Path, *words: str) -> None:
    """Run a command of this machine's index."""
    state = packages.parent / "state"
    assert main([*words, "-d", str(packages), "--state", str(state)]) == 0


def yanks(packages: Path) -> dict[str, Any]:
    """The yanks that clients see."""
    page = packages.parent / "state/www/simple/foo/index.json"
    return {file["filename"]: file["yanked"] for file in json.loads(page.read_bytes())["files"]}


# --- yanks ----------------------------------------------------------------------------------------


def test_no_moment_shows_a_file_without_its_yank(
    monkeypatch: pytest.MonkeyPatch, packages: Path, index: Server
) -> None:
    """Whoever scans a placed file first, a watcher or a command after a kill, sees its yank."""
    yank(index, "bad one")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(taking, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            mirror_directly(packages, index, "foo==1.0")
    assert OLD in names(packages)
    update(for_directory(packages, packages.parent / "state"))
    assert yanks(packages) == {OLD: "bad one"}
    log = (packages.parent / "state" / "decisions.jsonl").read_text()
    assert f'"filename": "{OLD}"' in log


def mirror_directly(packages: Path, index: Server, requirement: str) -> None:
    """Mirror without the gate of the command line, which reports an interrupt."""
    spec = for_directory(packages, packages.parent / "state")
    options = Options(index_url=f"{index.url}/simple/")
    targets = choose([LINUX], spec)
    job = Job(spec, spec.root, (from_arguments([requirement]),), targets, options)
    run_job(job, Progress("", line_seconds=60))


def test_later_yanks_of_the_upstream_are_followed(packages: Path, index: Server) -> None:
    """A file that the upstream yanks or unyanks later changes here, too, with its reason; the
    project must be one of the run, the release need not."""
    mirror(packages, index, "foo==1.0")
    mirror(packages, index, "foo")
    assert yanks(packages) == {OLD: False, NEW: False}

    for words, expected, text in (
        (("yank", "foo==1.0", "--reason", "bad"), "bad", "yanked (bad)"),
        (("yank", "foo==1.0", "--reason", "worse"), "worse", "yanked (worse)"),
        (("unyank", "foo==1.0"), False, "unyanked"),
    ):
        index.command(*words)
        document = mirror(packages, index, "foo")
        assert yanks(packages) == {OLD: expected, NEW: False}
        assert document["notes"] == [f"{OLD}: {text} upstream; done here, too"]
        assert mirror(packages, index, "foo")["notes"] == []


def test_yank_that_ended_while_the_file_was_away_ends_here(packages: Path, index: Server) -> None:
    """A file that was removed here, and unyanked upstream, is not yanked when it comes back; a yank
    by an operator stays."""
    yank(index, "bad")
    mirror(packages, index, "foo==1.0")
    run(packages, "remove", OLD)
    index.command("unyank", "foo==1.0")
    mirror(packages, index, "foo==1.0")
    assert yanks(packages) == {OLD: False}
    run(packages, "yank", "foo==1.0", "--reason", "ours")
    run(packages, "remove", OLD)
    yank(index, "theirs")
    mirror(packages, index, "foo==1.0", code=0)
    assert yanks(packages) == {OLD: "ours"}


def test_each_index_follows_yanks(tmp_path: Path, index: Server) -> None:
    """Indexes of one state that mirror the same remember nothing of each other."""
    spec = tmp_path / "pyindex.yml"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    spec.write_text("state: state\nindexes: {a: {packages: a}, b: {packages: b}}\n")

    def run_both() -> list[Any]:
        for name in ("a", "b"):
            words = ["mirror", "foo", "foo>=1", "-c", str(spec), "--index", name]
            words += ["--target", LINUX, "--index-url", f"{index.url}/simple/"]
            assert main(words) == 0
        where = ("simple", "b/simple")
        pages = [tmp_path / "state" / "www" / each / "foo" / "index.json" for each in where]
        files = [json.loads(page.read_bytes())["files"] for page in pages]
        return [each["yanked"] for found in files for each in found]

    assert run_both() == [False, False]
    index.command("yank", "foo==2.0", "--reason", "bad")
    make_wheel(index.packages, "foo", "3.0")
    wait_until(f"{index.url}/simple/foo/", "foo-3.0")
    assert run_both() == ["bad", False, "bad", False]


def test_yank_is_of_the_file_that_was_taken(packages: Path, index: Server) -> None:
    """Where another file is in the way, the yank of the upstream's is not recorded for it."""
    yank(index, "bad")
    (packages / OLD).write_text("junk")
    mirror(packages, index, "foo==1.0", code=1)
    (packages / OLD).unlink()
    make_wheel(packages, "foo", "1.0", summary="another")
    update(for_directory(packages, packages.parent / "state"))
    assert yanks(packages) == {OLD: False}
    assert origins(packages) == {}


def test_dry_run_follows_no_yank(packages: Path, index: Server) -> None:
    """A dry run changes no yank."""
    mirror(packages, index, "foo==1.0")
    yank(index, "bad")
    mirror(packages, index, "foo==1.0", "--dry-run")
    assert yanks(packages) == {OLD: False}


OPERATOR: dict[str, tuple[list[tuple[str, ...]], str | bool, str | None]] = {
    "own yank": (
        [("here", "yank", "own"), ("there", "yank", "bad")],
        "own",
        f"{OLD}: yanked (bad) upstream; kept as an operator decided here",
    ),
    "own yank, undone upstream": (
        [("there", "yank", "bad"), ("run",), ("here", "yank", "own"), ("there", "unyank")],
        "own",
        f"{OLD}: unyanked upstream; kept as an operator decided here",
    ),
    "own unyank": (
        [("there", "yank", "bad"), ("run",), ("here", "unyank"), ("there", "yank", "worse")],
        False,
        f"{OLD}: yanked (worse) upstream; kept as an operator decided here",
    ),
    "same decision": (
        [("here", "yank", "bad"), ("there", "yank", "bad")],
        "bad",
        None,
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("case", OPERATOR)
def test_decision_of_the_operator_stays(case: str, packages: Path, index: Server) -> None:
    """A yank that an operator made or undid here is not changed by the upstream."""
    steps, expected, note = OPERATOR[case]
    mirror(packages, index, "foo==1.0")
    for where, *words in steps:
        if where == "run":
            mirror(packages, index, "foo")
            continue
        reason = ["--reason", words[1]] if words[1:] else []
        if where == "here":
            run(packages, words[0], "foo==1.0", *reason)
        else:
            index.command(words[0], "foo==1.0", *reason)
    document = mirror(packages, index, "foo")
    assert yanks(packages)[OLD] == expected
    assert document["notes"] == ([] if note is None else [note])
    assert mirror(packages, index, "foo")["notes"] == []
    assert yanks(packages)[OLD] == expected


def test_file_from_elsewhere_follows_no_upstream(packages: Path, index: Server) -> None:
    """The yank of a file that an operator copied, or that was loaded, is not the upstream's."""
    (packages / OLD).write_bytes((index.packages / OLD).read_bytes())
    mirror(packages, index, "foo")
    yank(index, "bad")
    assert mirror(packages, index, "foo")["notes"] == []
    assert yanks(packages)[OLD] is False


# --- origins --------------------------------------------------------------------------------------


def origins(packages: Path) -> dict[str, Origin]:
    spec = for_directory(packages, packages.parent / "state")
    with Catalog(spec.catalog).read() as reader:
        return reader.origins(spec.root, reader.files_after(spec.root))


def bundled(path: Path) -> dict[str, tuple[str | None, str | None]]:
    with bundles.opened([path], [], allow_unsigned=True) as bundle:
        files = bundle.manifest.files
    return {file.filename: (file.origin, file.provenance) for file in files}


def test_bundle_carries_the_origin(tmp_path: Path, packages: Path, index: Server) -> None:
    """The URL that a file was fetched from, without a login, goes through a bundle into another
    index, and into a bundle of that."""
    with_login = index.url.replace("://", "://me:s3cret@")
    mirror(packages, index, "foo==1.0", base=with_login)
    url = f"{index.url}/packages/{OLD}"
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    run(packages, "bundle", str(first))
    assert bundled(first) == {OLD: (url, None)}

    other = tmp_path / "other" / "packages"
    other.mkdir(parents=True)
    run(other, "load", str(first), "--allow-unsigned")
    run(other, "bundle", str(second))
    assert bundled(second) == {OLD: (url, None)}
    assert origins(other)[OLD].upstream is None
    assert origins(packages)[OLD].upstream == f"{index.url}/simple/"


def test_origin_has_no_secret(packages: Path, index: Server) -> None:
    """A URL in an input loses login and query in the catalog and in the report."""
    with_login = index.url.replace("://", "://me:s3cret@")
    document = mirror(packages, index, f"foo @ {with_login}/packages/{OLD}?token=s3cret")
    assert origins(packages)[OLD].url == f"{index.url}/packages/{OLD}"
    assert document["files"][0]["url"] == f"{index.url}/packages/{OLD}"
    assert "s3cret" not in json.dumps(document)


def test_long_url_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch, packages: Path, index: Server
) -> None:
    """A URL that is longer than a bundle may have is left out, and the index can be bundled."""
    monkeypatch.setattr(taking, "_LONGEST", len(index.url))
    mirror(packages, index, "foo==1.0")
    run(packages, "bundle", str(packages.parent / "out.tar"))
    assert bundled(packages.parent / "out.tar") == {OLD: (None, None)}


def test_provenance_of_the_page_is_carried(tmp_path: Path, packages: Path, index: Server) -> None:
    """The URL of a file's provenance (PEP 740) is recorded and bundled, also of a file that uv
    chose, whose answer has none."""
    page = tmp_path / "simple" / "foo" / "index.html"
    page.parent.mkdir(parents=True)
    path = index.packages / NEW
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    provenance = "https://pypi.example/integrity/foo/2.0/provenance"
    link = f'<a href="{path.as_uri()}#sha256={digest}" data-provenance="{provenance}">{NEW}</a>'
    page.write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    mirror(packages, index, "foo", base=tmp_path.as_uri())
    mirrored = origins(packages)[NEW]
    assert (mirrored.provenance, mirrored.url) == (provenance, path.as_uri())
    run(packages, "bundle", str(tmp_path / "out.tar"))
    assert bundled(tmp_path / "out.tar") == {NEW: (path.as_uri(), provenance)}


def test_origin_of_a_built_wheel_is_its_sources(
    tmp_path: Path, packages: Path, index: Server
) -> None:
    """A wheel that was built came from its sources, also in the report."""
    project = write_project(tmp_path / "mine", "mine", tmp_path / "trace")
    document = mirror(packages, index, str(project), "--build", "mine")
    (origin,) = origins(packages).values()
    assert (origin.url, origin.upstream) == (project.as_uri(), None)
    assert document["files"][0]["url"] == origin.url


def test_other_content_has_no_origin(packages: Path, index: Server) -> None:
    """A file that an operator replaced did not come from the upstream, and follows no yank."""
    mirror(packages, index, "foo==1.0")
    (packages / OLD).unlink()
    make_wheel(packages, "foo", "1.0", summary="another")
    update(for_directory(packages, packages.parent / "state"))
    assert origins(packages) == {}
    yank(index, "bad")
    assert mirror(packages, index, "foo")["notes"] == []


def test_rebuild_keeps_origins(packages: Path, index: Server) -> None:
    """A damaged catalog loses no origin that is readable."""
    mirror(packages, index, "foo")
    before = origins(packages)
    catalog = for_directory(packages, packages.parent / "state").catalog
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("DROP TABLE refused")
        connection.commit()
    run(packages, "rebuild")
    assert before and origins(packages) == before
