"""Project pages and project lists, checked with independent parsers."""

import gzip
import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from pypi_simple import ProjectPage

from appliance.index.model import STATUSES, File, Project
from appliance.site import pages
from appliance.site.lists import part_of_list
from appliance.site.tree import PAGES

URL = "http://localhost/simple/foo/"
FILE = File(
    path="sub/foo-1.0.tar.gz",
    filename="foo-1.0.tar.gz",
    project="foo",
    name="Foo",
    version="1.0",
    kind="sdist",
    python_version="source",
    size=1,
    mtime_ns=0,
    inode=0,
    sha256="0" * 64,
    md5="",
    blake2b_256="",
    upload_time=0,
    requires_python=">=3.8",
    summary=None,
    core_metadata="1" * 64,
    signature=True,
    yanked="broken",
)

_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
_hex = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def files(draw: st.DrawFn) -> File:
    number = draw(st.integers(0, 999))
    filename = f"foo-1.{number}+l.tar.gz"
    directory = draw(st.lists(_text.filter(lambda t: "/" not in t and t not in ".."), max_size=2))
    return File(
        path="/".join([*directory, filename]),
        filename=filename,
        project="foo",
        name="Foo",
        version=f"1.{number}",
        kind="sdist",
        python_version="source",
        size=draw(st.integers(0, 1 << 40)),
        mtime_ns=0,
        inode=0,
        sha256=draw(_hex),
        md5="",
        blake2b_256="",
        upload_time=draw(st.integers(0, 4_000_000_000_000_000)),
        requires_python=draw(st.none() | _text),
        summary=None,
        core_metadata=draw(st.none() | _hex),
        signature=draw(st.booleans()),
        yanked=draw(st.none() | st.just("") | _text),
    )


@st.composite
def projects(draw: st.DrawFn) -> Project:
    return Project(
        index="main",
        name="foo",
        display="Foo",
        serial=draw(st.integers(1, 10**7)),
        status=draw(st.sampled_from(STATUSES)),
        status_reason=draw(st.none() | _text),
        files=tuple(draw(st.lists(files(), max_size=4, unique_by=lambda f: f.filename))),
    )


@given(projects())
def test_html_and_json_pages_have_same_files(project: Project) -> None:
    """HTML and JSON pages have the same file names, URLs, digests, Python limits and yanks."""
    variants = pages.project_pages(project, "../../packages/")
    html = ProjectPage.from_html("foo", variants["index.html"], base_url=URL)
    data = ProjectPage.from_json_data(json.loads(variants["index.json"]), base_url=URL)
    for page in (html, data):
        assert [p.filename for p in page.packages] == [f.filename for f in project.offered]
        for package, file in zip(page.packages, project.offered, strict=True):
            assert package.digests == {"sha256": file.sha256}
            assert package.requires_python == file.requires_python
            assert package.is_yanked == (file.yanked is not None)
            assert (package.yanked_reason or "") == (file.yanked or "")
            assert package.metadata_digests == (
                {"sha256": file.core_metadata} if file.core_metadata else None
            )
    assert [p.url for p in html.packages] == [p.url for p in data.packages]
    for package, file in zip(data.packages, project.offered, strict=True):
        assert package.size == file.size
        assert package.upload_time is not None
        micros = round(package.upload_time.timestamp() * 1_000_000)
        assert abs(micros - file.upload_time) <= 1  # a float holds no more
    assert data.versions == project.versions
    assert html.repository_version == data.repository_version == "1.4"


@given(projects())
def test_page_variants_differ_in_size(project: Project) -> None:
    """The variants of a page differ in size, which tells their ETags of one mtime apart."""
    variants = pages.project_pages(project, "../../packages/")
    assert tuple(variants) == PAGES
    assert len({len(content) for content in variants.values()}) == len(PAGES)
    for name in ("index.html", "index.json"):
        assert gzip.decompress(variants[f"{name}.gz"]) == variants[name]


def file_at(path: str) -> File:
    name = path.rpartition("/")[2]
    return File(path, name, "foo", "foo", "1", "sdist", "source", 1, 0, 0, "0", "", "", 0)


class Tags(HTMLParser):
    """Collector of the tags on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def listed(display: str, serial: int, is_json: bool) -> bytes:
    """Return the page of a list with one project."""
    row = {"name": display, "_last-serial": serial}
    page = {"meta": {"_last-serial": serial}, "projects": [row]}
    return part_of_list(json.dumps(page).encode(), lambda _: True, is_json)


@given(_text, _text)
def test_pages_escape_markup(first: str, second: str) -> None:
    """Pages escape markup in names, reasons and Python limits."""
    nasty = f'{first}"><script>{second}</script><!--'
    path = f"{nasty.replace('/', '')}/foo-1.zip"
    file = replace(FILE, path=path, requires_python=nasty, yanked=nasty)
    project = Project("main", "foo", nasty, 1, "archived", nasty, (file,))
    html = pages.project_pages(project, "../../packages/")["index.html"].decode()
    for page in (html, listed(nasty, 1, is_json=False).decode()):
        parser = Tags()
        parser.feed(page)
        assert parser.tags <= {"html", "head", "meta", "title", "body", "h1", "a", "br"}


def test_json_page_omits_unknown_values() -> None:
    """The JSON page has no nulls, which uv rejects, and no deprecated metadata key."""
    file = File(
        "foo-1.zip", "foo-1.zip", "foo", "foo", "1", "sdist", "source", 1, 0, 0, "0", "", "", 0
    )
    project = Project("main", "foo", "foo", 7, files=(file,))
    body = json.loads(pages.project_pages(project, "../../packages/")["index.json"])
    assert body == {
        "meta": {"api-version": "1.4", "_last-serial": 7},
        "name": "foo",
        "project-status": {"status": "active"},
        "versions": ["1"],
        "files": [
            {
                "filename": "foo-1.zip",
                "url": "../../packages/foo-1.zip",
                "hashes": {"sha256": "0"},
                "size": 1,
                "upload-time": "1970-01-01T00:00:00.000000Z",
                "yanked": False,
            }
        ],
    }


def test_page_of_quarantined_project_has_no_files() -> None:
    """The page of a quarantined project has a status and no files (PEP 792)."""
    file = File(
        "foo-1.zip", "foo-1.zip", "foo", "foo", "1", "sdist", "source", 1, 0, 0, "0", "", "", 0
    )
    project = Project("main", "foo", "foo", 7, "quarantined", "malware", (file,))
    variants = pages.project_pages(project, "../../packages/")
    body = json.loads(variants["index.json"])
    assert body["files"] == body["versions"] == []
    assert body["project-status"] == {"status": "quarantined", "reason": "malware"}
    assert b"<a " not in variants["index.html"]


def test_file_url_is_quoted() -> None:
    """The URL of a file quotes plus signs, spaces and percent signs."""
    file = file_at("a b/%/foo-1+x.zip")
    assert pages.file_url("../", file) == "../a%20b/%25/foo-1%2Bx.zip"


def test_changed_pages_need_a_new_page_format() -> None:
    """The bytes of pages are those of their PAGE_FORMAT: published pages are rewritten only if that
    number changes. After an intended change increment it and renew both values here."""
    project = Project("main", "foo", "Foo", 7, "deprecated", "old", (FILE,))
    rendered = pages.project_pages(project, "../../packages/")

    digest = hashlib.sha256(rendered["index.html"] + rendered["index.json"])
    for is_json in (False, True):
        digest.update(listed("Foo", 7, is_json))
    assert (pages.PAGE_FORMAT, digest.hexdigest()) == (
        2,
        "33a2f375545ebabcad56f0eb752f6f3691558e8cb7f46ed0dbc8722e299815b4",
    )
