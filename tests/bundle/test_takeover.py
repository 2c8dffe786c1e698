"""``pyindex take-over``: files of other servers, with times, yanks and owners.

data/devpi-export was written by devpi-server 6.20.3; tests/integration mirrors with bandersnatch.
"""

import json
import shutil
from pathlib import Path

import pytest

from appliance.bundle.takeover import take_over
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.operations import decisions
from appliance.site.tree import Site
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel, uploaded

EXPORT = Path(__file__).parents[1] / "data" / "devpi-export"
WHEEL, SDIST, WHEEL_2 = (
    "foo-1.0-py2.py3-none-any.whl",
    "foo-1.0.tar.gz",
    "foo-2.0-py2.py3-none-any.whl",
)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A copy of the export of a devpi server."""
    return Path(shutil.copytree(EXPORT, tmp_path / "export"))


@pytest.fixture
def target(tmp_path: Path) -> Lab:
    """An empty index, scanned."""
    (tmp_path / "target").mkdir()
    lab = Lab(tmp_path / "target")
    lab.once()
    return lab


def entries(lab: Lab, project: str) -> dict[str, dict[str, object]]:
    page = lab.page(project)
    return {} if page is None else {file["filename"]: file for file in page["files"]}


def write_mirror(lab: Lab, root: Path) -> None:
    """Write the pages and files of an index as bandersnatch does: files by their digests."""
    page = json.loads(Site(lab.spec).simple(lab.index).joinpath("foo/index.json").read_bytes())
    with lab.catalog.read() as reader:
        files = {file.filename: file for file in reader.files_after(lab.index)}
    for entry in page["files"]:
        digest_path = files[entry["filename"]].digest_path
        entry["url"] = f"../../packages/{digest_path}"
        path = root / "web/packages" / digest_path
        path.parent.mkdir(parents=True)
        shutil.copy2(lab.packages / entry["filename"], path)
    simple = root / "web/simple/foo"
    simple.mkdir(parents=True)
    (simple / "index.v1_json").write_text(json.dumps(page))
    (root / "web/simple/index.html").write_text("<html></html>")


@pytest.fixture
def mirror(foo: Lab, tmp_path: Path) -> Path:
    """The tree of a mirror with a yanked file and upload times."""
    uploaded(foo.packages / WHEEL, "2020-02-02T02:02:02.5+00:00")
    foo.once()
    decisions.yank(foo.spec, foo.index, WHEEL_2, "bad")
    write_mirror(foo, tmp_path / "mirror")
    return tmp_path / "mirror"


@pytest.mark.parametrize("top", ["", "web"])
def test_bandersnatch_is_taken_over(foo: Lab, mirror: Path, target: Lab, top: str) -> None:
    """Files of a mirror keep upload time and yank, and their URLs of digests."""
    taken = take_over(target.spec, target.index, "bandersnatch", mirror / top)
    assert (len(taken.new), taken.files, taken.messages) == (3, 3, [])
    before, after = entries(foo, "foo"), entries(target, "foo")
    for name, entry in after.items():
        same = ("hashes", "upload-time", "yanked", "size")
        assert {key: entry[key] for key in same} == {key: before[name][key] for key in same}
        with target.catalog.read() as reader:
            file = reader.file(target.index, name)
        assert file is not None
        assert entry["url"] == f"../../packages/{file.digest_path}"
    assert after[WHEEL_2]["yanked"] == "bad"


def test_reason_of_yank_is_in_other_metadata(mirror: Path, target: Lab) -> None:
    """The reason of a yank is read from where bandersnatch keeps it, on one line."""
    page = mirror / "web/simple/foo/index.v1_json"
    page.write_text(page.read_text().replace('"bad"', "true"))
    (mirror / "web/json").mkdir()
    for text, reason in (
        ("[]", True),
        (
            json.dumps({"releases": {"2.0": [{"filename": WHEEL_2, "yanked_reason": "a\nb"}]}}),
            "a b",
        ),
    ):
        (mirror / "web/json/foo").write_text(text)
        take_over(target.spec, target.index, "bandersnatch", mirror)
        assert entries(target, "foo")[WHEEL_2]["yanked"] == reason
        decisions.yank(target.spec, target.index, WHEEL_2, None)


def test_old_mirror_has_html_pages(mirror: Path, target: Lab) -> None:
    """A mirror without JSON pages is read too; its mtimes are the upload times."""
    page = mirror / "web/simple/foo/index.v1_json"
    links = [
        f'<a href="{file["url"]}#sha256={file["hashes"]["sha256"]}">{file["filename"]}</a><br>'
        for file in json.loads(page.read_bytes())["files"]
    ]
    page.with_name("index.html").write_text(f"<!DOCTYPE html><body>{''.join(links)}</body>")
    page.unlink()
    take_over(target.spec, target.index, "bandersnatch", mirror)
    assert entries(target, "foo")[WHEEL]["upload-time"] == "2020-02-02T02:02:02.500000Z"


def test_listed_file_that_is_missing_is_named(mirror: Path, target: Lab) -> None:
    """A file that a page lists and the mirror lacks is left out, with a message."""
    path = next(mirror.rglob(SDIST))
    path.unlink()
    taken = take_over(target.spec, target.index, "bandersnatch", mirror)
    assert taken.messages == [f"{path.relative_to(mirror)}: listed, but not there; left out"]
    assert entries(target, "foo").keys() == {WHEEL, WHEEL_2}


def test_devpi_is_taken_over(export: Path, target: Lab) -> None:
    """Files of an export keep their upload times, and projects their owners."""
    taken = take_over(target.spec, target.index, "devpi", export)
    assert sorted(taken.new) == sorted([WHEEL, SDIST, "Bar_X-2.0-py2.py3-none-any.whl"])
    assert entries(target, "foo")[WHEEL]["upload-time"] == "2026-11-30T00:44:44.000000Z"
    with target.catalog.read() as reader:
        assert [reader.owner("main", name) for name in ("foo", "bar-x")] == ["alice", "alice"]
    assert not target.refused()


def test_repeated_take_over_adds_what_is_new(export: Path, target: Lab) -> None:
    """A second run changes nothing, and finds a file that was deleted since."""
    take_over(target.spec, target.index, "devpi", export)
    assert take_over(target.spec, target.index, "devpi", export).new == []
    (target.packages / SDIST).unlink()
    target.once()
    assert take_over(target.spec, target.index, "devpi", export).new == [SDIST]


def test_pypiserver_is_taken_over(tmp_path: Path, target: Lab) -> None:
    """The packages directory of pypiserver keeps its paths and times."""
    (tmp_path / "packages/sub").mkdir(parents=True)
    uploaded(make_wheel(tmp_path / "packages", "foo", "1.0"), "2020-02-02T02:02:02+00:00")
    make_sdist(tmp_path / "packages/sub", "foo", "1.0")
    (tmp_path / "packages/README").write_text("x")
    taken = take_over(target.spec, target.index, "pypiserver", tmp_path / "packages")
    assert sorted(taken.new) == [WHEEL, f"sub/{SDIST}"]
    assert entries(target, "foo")[WHEEL]["upload-time"] == "2020-02-02T02:02:02.000000Z"


def damage(export: Path) -> None:
    path = next(export.rglob(SDIST))
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def climb(export: Path) -> None:
    index = export / "dataindex.json"
    (export.parent / WHEEL_2).write_bytes(b"x")
    text = index.read_text().replace("alice/dev/foo/1.0/foo-1.0-py2", "../foo-2.0-py2", 1)
    index.write_text(text)


def no_json(export: Path) -> None:
    (export / "dataindex.json").write_text("[]")


def no_index(export: Path) -> None:
    (export / "dataindex.json").unlink()


def no_time(export: Path) -> None:
    index = export / "dataindex.json"
    value = json.loads(index.read_bytes())
    for file in value["indexes"]["alice/dev"]["files"]:
        file["log"] = [{"what": "upload", "when": [2026, 13, 32, 0, 0, 0]}]
    index.write_text(json.dumps(value))


def empty(export: Path) -> None:
    index = export / "dataindex.json"
    value = json.loads(index.read_bytes())
    value["indexes"]["alice/dev"]["files"] = []
    index.write_text(json.dumps(value))


WRONG = [
    (climb, None, "path outside of it; nothing was taken"),
    (damage, None, "damaged: not the content with sha256 .* that the server has; restore or"),
    (no_json, None, "dataindex.json: not an export of devpi"),
    (no_time, None, "dataindex.json: not an export of devpi"),
    (no_index, None, "no dataindex.json in it; write an export with `devpi-export`"),
    (empty, "alice/dev", "no package files of devpi in it; check the path"),
    (empty, None, "pass one of its indexes with --from: "),
    (None, "bob/dev", "pass one of its indexes with --from: alice/dev"),
]


@pytest.mark.parametrize(("prepare", "origin", "message"), WRONG)
def test_wrong_export_changes_nothing(
    export: Path, target: Lab, prepare: object, origin: str | None, message: str
) -> None:
    """A damaged or foreign export is an error, and no file of it is taken."""
    if prepare is not None:
        prepare(export)  # type: ignore[operator]
    with pytest.raises(PyindexError, match=message):
        take_over(target.spec, target.index, "devpi", export, origin)
    assert list(target.packages.iterdir()) == []


def test_directory_of_no_mirror_is_reported(tmp_path: Path, target: Lab) -> None:
    """A directory without pages is an error."""
    with pytest.raises(PyindexError, match="no web/simple in it; pass the directory of the mirror"):
        take_over(target.spec, target.index, "bandersnatch", tmp_path)


def test_command_prints_what_it_did(
    export: Path, target: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the number of new files, or a document with their paths."""
    command = ["take-over", "devpi", str(export), "--from", "alice/dev"]
    command += ["-d", str(target.packages), "--state", str(target.spec.state)]
    assert main(command) == 0
    assert capsys.readouterr().out == "main: 3 new of 3 files\n"
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"index": "main", "new": [], "files": 3, "messages": []}
