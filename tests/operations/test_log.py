"""``pyindex log``: entries, filters, following."""

import itertools
import json
import re
import threading
import time
from pathlib import Path

import pytest

from appliance.catalog.journal import ACTIONS, Filter
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.index.model import Actor
from appliance.operations import decisions, log
from appliance.operations.moments import parse_moment
from tests.conftest import Lab
from tests.dist import make_wheel

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "audit.md"
WHEEL = "foo-1.0-py2.py3-none-any.whl"


@pytest.fixture
def logged(foo: Lab) -> Lab:
    """Index with changes by several actors."""
    make_wheel(foo.packages, "Bar_X", "1.0")
    foo.once()
    with foo.catalog.change(Actor("ci", "192.0.2.7")) as change:
        change.yank(foo.index, WHEEL, "bro\x1bken")
    decisions.set_status(foo.spec, foo.index, "foo", "archived", None)
    return foo


def run(lab: Lab, *words: str) -> int:
    directories = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
    return main(["log", *directories, *words])


FILTERS = [
    ((), ["begun", "added", "added", "added", "added", "yanked", "status"]),
    (("--last", "2"), ["yanked", "status"]),
    (("--last", "0"), []),
    (("--project", "bar.X"), ["added"]),
    (("--project", "foo", "--action", "yanked", "--action", "status"), ["yanked", "status"]),
    (("--actor", "ci"), ["yanked"]),
    (("--actor", "nobody-else"), []),
    (("--index", "main", "--action", "added", "--last", "1"), ["added"]),
    (("--since", "1h", "--last", "1"), ["status"]),
    (("--since", "2999-01-01"), []),
]


@pytest.mark.parametrize(("words", "actions"), FILTERS)
def test_log_filters(
    logged: Lab, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], actions: list[str]
) -> None:
    """Each filter keeps the entries that agree with it, oldest first."""
    assert run(logged, "--json", *words) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["action"] for entry in entries] == actions


def test_log_shows_who_and_what(logged: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry has the digest, the actor and the address; control characters are escaped."""
    run(logged)
    _, added, *_, yanked, _ = capsys.readouterr().out.splitlines()
    with logged.catalog.read() as reader:
        file = reader.file(logged.index, WHEEL)
    assert file is not None
    assert added.endswith(f" main added {WHEEL} (sha256:{file.sha256})")
    assert yanked.endswith(f" main yanked {WHEEL} (bro\\x1bken) by ci from 192.0.2.7")


def test_document_has_digest_or_detail(logged: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON document of an entry tells a digest from another detail."""
    run(logged, "--json", "--actor", "ci")
    run(logged, "--json", "--project", "bar-x")
    yanked, added = map(json.loads, capsys.readouterr().out.splitlines())
    assert (yanked["detail"], yanked["sha256"]) == ("bro\x1bken", None)
    assert (added["detail"], len(added["sha256"]), added["address"]) == (None, 64, None)
    assert added["time"].endswith("Z")


def test_log_follows(logged: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Following yields what is added later, once, and only what the filter chooses."""
    monkeypatch.setattr(log, "_POLL_SECONDS", 0.01)
    entries = log.entries(logged.spec, Filter(actions=("yanked", "unyanked")), 1, follow=True)
    assert next(entries).action == "yanked"
    later = threading.Timer(0.05, decisions.yank, (logged.spec, logged.index, WHEEL, None))
    later.start()
    assert [each.action for each in itertools.islice(entries, 1)] == ["unyanked"]
    later.join()


def test_all_entries_are_read_in_batches(logged: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal longer than a batch is complete."""
    monkeypatch.setattr(log, "_BATCH", 2)
    serials = [each.serial for each in log.entries(logged.spec, Filter())]
    assert serials == sorted(set(serials))
    assert len(serials) == 7


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-02T00:00:00+00:00", 86400), ("1970-01-01T01:00+01:00", 0)],
)
def test_moment_is_a_time(text: str, seconds: int) -> None:
    """A moment may have a zone."""
    assert parse_moment(text) == seconds * 1_000_000


def test_moment_is_how_long_ago() -> None:
    """A duration counts back from now; other text is an error that says what is expected."""
    assert abs(parse_moment("2h") / 1e6 - (time.time() - 7200)) < 600
    with pytest.raises(PyindexError) as caught:
        parse_moment("yesterday")
    assert str(caught.value) == (
        "expected a time such as 2026-11-29 or 2026-11-29T20:15, or how long ago, such as 2h or"
        " 14d, got 'yesterday'"
    )


def test_unknown_action_is_an_error(logged: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of no action is reported, with all actions, in place of no entries."""
    assert run(logged, "--action", "added", "--action", "upload") == 1
    error = f"pyindex: action 'upload' not found; expected {', '.join(ACTIONS)}\n"
    assert capsys.readouterr().err == error


def test_guide_lists_all_actions() -> None:
    """The table of the guide has every action, once."""
    table = GUIDE.read_text().partition("| action | change |")[2].partition("\n\n")[0]
    cells = "".join(re.findall("^([|] `.*?) [|]", table, re.M))
    assert sorted(re.findall("`(.*?)`", cells)) == sorted(ACTIONS)


def test_unknown_index_is_an_error(logged: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of no index is reported."""
    assert run(logged, "--index", "nix") == 1
    assert "index 'nix' not found; the spec has main" in capsys.readouterr().err
