"""Owners of projects: the first uploader, durably."""

import pytest

from appliance.catalog import decisionlog
from appliance.operations.opening import open_catalog
from appliance.operations.rebuild import rebuild
from tests.conftest import Lab
from tests.dist import make_wheel
from tests.operations.damages import lose, spoil


@pytest.fixture
def owned(lab: Lab) -> Lab:
    """An index whose project foo belongs to alice, which the decision log says, too."""
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    with lab.catalog.change() as change:
        assert change.take_ownership("main", "foo", "alice") == "alice"
        assert change.take_ownership("main", "foo", "bob") == "alice"
    with lab.catalog.read() as reader:
        decisionlog.append_new(lab.spec.state, reader)
    return lab


def owner(lab: Lab, project: str = "foo") -> str | None:
    with lab.catalog.read() as reader:
        return reader.owner("main", project)


def test_first_uploader_stays_owner(owned: Lab) -> None:
    """A project has one owner, and the journal says since when."""
    assert (owner(owned), owner(owned, "other")) == ("alice", None)
    assert [(change.action, change.detail) for change in owned.journal()[1:]] == [
        ("owned", "alice")
    ]


def test_lost_catalog_keeps_owners(owned: Lab) -> None:
    """A new catalog gets the owners from the decision log."""
    lose(owned.spec.catalog)
    open_catalog(owned.spec, create=True)
    assert owner(owned) == "alice"


@pytest.mark.parametrize("has_log", [True, False])
def test_rebuild_keeps_owners(owned: Lab, has_log: bool) -> None:
    """A rebuild of a damaged catalog takes the owners from the log, or from readable rows."""
    if not has_log:
        decisionlog.path(owned.spec.state).unlink()
    spoil(owned.spec.catalog, "file")
    source = "the decision log" if has_log else "its readable rows (no decision log)"
    assert f"recovered 1 decision (yanks, statuses, owners) from {source}" in list(
        rebuild(owned.spec)
    )
    assert owner(owned) == "alice"


def test_snapshot_has_owners(owned: Lab) -> None:
    """A log that begins anew begins with the owners, too."""
    decisionlog.path(owned.spec.state).unlink()
    with owned.catalog.read() as reader:
        decisionlog.append_new(owned.spec.state, reader)
    assert decisionlog.read(owned.spec.state).decisions().owners == {("main", "foo"): "alice"}
