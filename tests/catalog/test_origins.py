"""Origins of files in the catalog, and yanks that are made before a file is there."""

import sqlite3
from contextlib import closing

import pytest

from appliance.catalog.database import Catalog
from appliance.errors import Rejected
from appliance.index.model import Origin
from appliance.operations import decisions
from tests.conftest import Lab
from tests.dist import make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def test_catalog_of_version_3_gets_origins(foo: Lab) -> None:
    """A catalog without the table of origins is migrated when it is opened."""
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        connection.execute("DROP TABLE origin")
        connection.execute("PRAGMA user_version = 3")
        connection.commit()
    catalog = Catalog(foo.spec.catalog)
    with catalog.read() as reader:
        files = reader.files_after(foo.index)
        assert reader.origins(foo.index, files) == {}
    sha256 = next(file.sha256 for file in files if file.filename == WHEEL)
    origin = Origin(WHEEL, sha256, "https://files.example/foo", None, None, None)
    with catalog.change() as change:
        change.set_origins(foo.index, [origin])
    with catalog.read() as reader:
        assert reader.origins(foo.index, files) == {WHEEL: origin}


def test_yank_ahead_shows_no_project(foo: Lab) -> None:
    """A yank of a file that is not there is logged, adds no project, and holds when the file
    comes; a second one changes nothing, and a name of no file is refused."""
    name = "later-1.0-py2.py3-none-any.whl"
    said = []
    decisions.decide(foo.spec, lambda w: said.append(w.yank_ahead(foo.index, name, "bad")))
    decisions.decide(foo.spec, lambda w: said.append(w.yank_ahead(foo.index, name, "bad")))
    decisions.decide(foo.spec, lambda w: said.append(w.yank_ahead(foo.index, WHEEL, "known")))
    assert said == [True, False, True]
    assert foo.page("later") is None
    with foo.catalog.read() as reader:
        assert [each.name for each in reader.projects(foo.index)] == ["foo"]
    assert (foo.spec.state / "decisions.jsonl").read_text().count(name) == 1
    with pytest.raises(Rejected):
        decisions.decide(foo.spec, lambda w: said.append(w.yank_ahead(foo.index, "x", "bad")))

    make_wheel(foo.packages, "later", "1.0")
    foo.once()
    page = foo.page("later")
    assert page is not None
    assert [file["yanked"] for file in page["files"]] == ["bad"]
