"""Who made a change, and names of files that were used."""

import pwd
import sqlite3
from contextlib import closing

import pytest

from appliance.catalog.database import Catalog
from appliance.index.model import Actor
from appliance.operations import actor, decisions
from appliance.operations.backup import backup
from appliance.operations.rebuild import rebuild
from appliance.operations.restore import restore
from tests.conftest import Lab
from tests.operations.damages import spoil

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def used(lab: Lab, name: str = WHEEL) -> str | None:
    with lab.catalog.read() as reader:
        return reader.used(lab.index, [name]).get(name)


def sha256(lab: Lab, name: str = WHEEL) -> str:
    with lab.catalog.read() as reader:
        file = reader.file(lab.index, name)
    assert file is not None
    return file.sha256


def test_decisions_record_the_operator(foo: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's changes name the user who logged in; those of the watcher name no user."""
    monkeypatch.setattr(actor, "_login", lambda: None)
    monkeypatch.setenv("SUDO_USER", "alice")
    decisions.yank(foo.spec, foo.index, WHEEL, "x")
    decisions.remove(foo.spec, foo.index, WHEEL)
    actors = [(change.action, change.actor) for change in foo.journal()]
    assert actors == [*[("added", None)] * 3, ("yanked", "alice"), ("removed", "alice")]
    log = (foo.spec.state / "decisions.jsonl").read_text()
    assert '"actor": "alice"' in log


def test_login_user_outlives_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of the login is named before the one that sudo names; a uid without a name too."""
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setattr(actor, "_login", lambda: 0)
    assert actor.operator() == Actor(pwd.getpwuid(0).pw_name)
    monkeypatch.setattr(actor, "_login", lambda: 4_000_000)
    assert actor.operator() == Actor("uid 4000000")


def test_change_records_account_and_address(foo: Lab) -> None:
    """A change made for a client has its account and address."""
    with foo.catalog.change(Actor("ci", "192.0.2.7")) as change:
        change.yank(foo.index, WHEEL, "")
    last = foo.journal()[-1]
    assert (last.actor, last.address) == ("ci", "192.0.2.7")


def test_name_of_removed_file_stays_used(foo: Lab) -> None:
    """The digest of a removed file stays known, as does that of a file that is there."""
    before = sha256(foo)
    assert used(foo) == before
    decisions.remove(foo.spec, foo.index, WHEEL)
    assert used(foo) == before
    assert used(foo, "other-1.0.tar.gz") is None


def test_backup_of_before_keeps_used_names(foo: Lab) -> None:
    """Restoring a backup forgets no name that was used since."""
    before, copy = sha256(foo), backup(foo.spec)
    decisions.remove(foo.spec, foo.index, WHEEL)
    list(restore(foo.spec, copy))
    foo.once()
    assert used(foo) == before


def test_damaged_catalog_keeps_used_names(foo: Lab) -> None:
    """A rebuild takes the used names from a damaged catalog."""
    before = sha256(foo)
    decisions.remove(foo.spec, foo.index, WHEEL)
    spoil(foo.spec.catalog, "file")
    list(rebuild(foo.spec))
    assert used(foo) == before


def test_catalog_of_version_4_gets_used_names(foo: Lab) -> None:
    """Names of files that an older release removed are taken from the journal."""
    before = sha256(foo)
    decisions.remove(foo.spec, foo.index, WHEEL)
    with closing(sqlite3.connect(foo.spec.catalog)) as connection:
        connection.execute("DROP TABLE used")
        connection.execute("PRAGMA user_version = 4")
        connection.commit()
    with Catalog(foo.spec.catalog).read() as reader:
        assert reader.used(foo.index, [WHEEL]) == {WHEEL: before}
