"""Project lists: what is kept of them, and what outsiders read."""

import gzip
import json
import random
import subprocess
from pathlib import Path

import pytest
from pypi_simple import IndexPage

from appliance import spec
from appliance.catalog.database import Catalog
from appliance.index.model import File
from appliance.site.lists import ProjectList, part_of_list
from appliance.spec import Spec

_SPEC = """\
state: state
indexes:
  main: {packages: main, bases: [base]}
  base: {packages: base, policy: {private: [project-1*]}}
"""
CATALOG = 7


@pytest.fixture
def two(tmp_path: Path) -> Spec:
    """Return a spec of an index with a base, and an empty catalog."""
    (tmp_path / "pyindex.yml").write_text(_SPEC)
    loaded = spec.load(tmp_path / "pyindex.yml")
    Catalog(loaded.catalog, create=True).close()
    return loaded


def file(project: str, number: int) -> File:
    name = f"{project.title()}-{number}.zip"
    digests = ("0", "", "")
    return File(
        name, name, project, project.title(), str(number), "sdist", "source", 1, 0, 0, *digests, 0
    )


def read(two: Spec, listed: ProjectList, catalog: int = CATALOG) -> dict[str, bytes]:
    """Return the pages of a list after it was read again."""
    with Catalog(two.catalog).read() as reader:
        listed.read(reader, catalog)
        return listed.render(reader.serial())


def test_kept_list_is_the_list_that_is_read_anew(two: Spec) -> None:
    """After any changes the kept list of an index and its base has the projects of one that is read
    for the first time, though blocks were divided and emptied."""
    chosen, kept = random.Random(4), ProjectList(two, "main")
    names = [f"project-{number}" for number in range(1500)]
    chosen.shuffle(names)
    catalog, numbers = Catalog(two.catalog), iter(range(10_000))
    for size in (1, 600, 3, 1, 900, 40, 2):
        with catalog.change() as change:
            for index in ("main", "base"):
                some = chosen.sample(names, min(size, len(names)))
                change.add(index, [file(name, next(numbers)) for name in some])
                present = [each.path for each in change.files_after(index, limit=2000)]
                change.remove(index, chosen.sample(present, len(present) // 3))
        pages, anew = read(two, kept), read(two, ProjectList(two, "main"))
        assert json.loads(pages["index.json"]) == json.loads(anew["index.json"])
        assert pages["index.html"].strip() == anew["index.html"].strip()
    with catalog.change() as change:
        for index in ("main", "base"):
            present = [each.path for each in change.files_after(index, limit=5000)]
            change.remove(index, present)
    assert json.loads(read(two, kept)["index.json"])["projects"] == []


def test_list_of_another_catalog_is_read_anew(two: Spec) -> None:
    """Nothing is kept of a list that was read from a catalog that is no longer there."""
    kept = ProjectList(two, "main")
    with Catalog(two.catalog).change() as change:
        change.add("main", [file("lost", 1)])
    assert b"Lost" in read(two, kept)["index.html"]
    two.catalog.unlink()
    with Catalog(two.catalog, create=True).change() as change:
        change.add("main", [file("found", 1)])
    pages = read(two, kept, CATALOG + 1)
    assert IndexPage.from_html(pages["index.html"]).projects == ["Found"]


def test_list_has_every_project_in_all_forms(two: Spec, tmp_path: Path) -> None:
    """HTML and JSON have every project, JSON its serial, and gzip, a program that we did not write,
    finds the compressed forms whole; no two forms have the same size."""
    names = [f"project-{number:04}" for number in range(1000)]
    with Catalog(two.catalog).change() as change:
        change.add("main", [file(name, 1) for name in names])
    pages = read(two, ProjectList(two, "main"))
    body = json.loads(pages["index.json"])
    html = IndexPage.from_html(pages["index.html"])
    assert html.projects == IndexPage.from_json_data(body).projects == [n.title() for n in names]
    serials = [project["_last-serial"] for project in body["projects"]]
    assert body["meta"] == {"api-version": "1.4", "_last-serial": serials[-1]}
    assert serials == list(range(serials[0], serials[0] + 1000))
    assert len({len(content) for content in pages.values()}) == len(pages)
    for form in ("index.html", "index.json"):
        (tmp_path / f"{form}.gz").write_bytes(pages[f"{form}.gz"])
        run = subprocess.run(["gzip", "-dc", tmp_path / f"{form}.gz"], capture_output=True)
        assert (run.returncode, run.stderr, run.stdout) == (0, b"", pages[form])


@pytest.mark.parametrize("is_json", [True, False], ids=["json", "html"])
def test_part_of_a_list_has_the_included_alone(two: Spec, is_json: bool) -> None:
    """The part of a list has the included projects, with their serials and that of the list."""
    with Catalog(two.catalog).change() as change:
        change.add("main", [file("foo", 1), file("bar", 1)])
    pages = read(two, ProjectList(two, "main"))
    rendered = part_of_list(pages["index.json"], "foo".__eq__, is_json)
    whole = json.loads(pages["index.json"])
    assert f"{whole['meta']['_last-serial']}".encode() in rendered
    assert (b"Foo" in rendered, b"Bar" in rendered) == (True, False)
    assert gzip.decompress(pages["index.json.gz"]) == pages["index.json"]
