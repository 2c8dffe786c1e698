"""Decision log: updates from the catalog, survival of the catalog, tamper detection."""

import json
import logging
import os
from pathlib import Path

import pytest

from appliance.catalog import decisionlog
from appliance.errors import PyindexError
from appliance.operations import decisions
from appliance.operations.opening import open_catalog
from appliance.operations.rebuild import rebuild
from tests.conftest import Lab
from tests.dist import make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"


@pytest.fixture
def foo(lab: Lab) -> Lab:
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    return lab


def log(lab: Lab) -> Path:
    return lab.spec.state / "decisions.jsonl"


def lines(lab: Lab) -> list[dict[str, object]]:
    return [json.loads(line) for line in log(lab).read_text().splitlines()]


def lose(lab: Lab) -> None:
    for suffix in ("", "-wal", "-shm"):
        path = lab.spec.catalog
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def reasons(lab: Lab) -> dict[tuple[str, str], str | None]:
    with lab.catalog.read() as reader:
        return reader.decisions().yanks


def test_decision_log_records_each_decision(foo: Lab) -> None:
    """The decision log holds a snapshot and a line for each decision with serial and detail."""
    decisions.yank(foo.spec, foo.index, WHEEL, "bröken")
    decisions.yank(foo.spec, foo.index, WHEEL, None)
    decisions.set_status(foo.spec, foo.index, "foo", "archived", "for: good")
    logged = lines(foo)
    assert [line["action"] for line in logged] == ["snapshot", "yanked", "unyanked", "status"]
    changes = foo.journal()[-3:]
    assert [line["serial"] for line in logged[1:]] == [change.serial for change in changes]
    assert logged[1]["filename"] == WHEEL
    assert (logged[1]["version"], logged[1]["detail"]) == ("1.0", "bröken")
    assert logged[3]["detail"] == "archived: for: good"
    assert decisionlog.read(foo.spec.state).problems == []


def test_decision_log_ignores_accepted_and_removed_files(foo: Lab) -> None:
    """The decision log records no files, because the packages directory shows them."""
    before = log(foo).read_bytes()
    make_wheel(foo.packages, "foo", "2.0")
    foo.once()
    decisions.remove(foo.spec, foo.index, WHEEL)
    assert log(foo).read_bytes() == before


def test_next_change_completes_decision_log(foo: Lab) -> None:
    """The next start or the next decision appends a decision that was committed but not logged."""
    with foo.catalog.change() as change:
        change.yank(foo.index, WHEEL, "unlogged")
    foo.once()
    assert lines(foo)[-1]["detail"] == "unlogged"
    with foo.catalog.change() as change:
        change.yank(foo.index, WHEEL, "again")
    decisions.set_status(foo.spec, foo.index, "foo", "archived", None)
    assert [line["detail"] for line in lines(foo)[-2:]] == ["again", "archived"]


TORN = [b'{"serial": 12', b"\0" * 100, b"\xff", b"{}", b'{"serial": 1}']


@pytest.mark.parametrize("rest", TORN)
def test_torn_line_is_cut_off(foo: Lab, rest: bytes) -> None:
    """The next decision cuts off an incomplete last line, which holds no acknowledged decision."""
    decisions.yank(foo.spec, foo.index, WHEEL, "one")
    whole = log(foo).read_bytes()
    with log(foo).open("ab") as file:
        file.write(rest)
    decisions.yank(foo.spec, foo.index, WHEEL, "two")
    assert log(foo).read_bytes().startswith(whole)
    assert decisionlog.read(foo.spec.state).problems == []
    assert [line["detail"] for line in lines(foo)[1:]] == ["one", "two"]


def test_line_without_newline_is_applied(foo: Lab) -> None:
    """A complete last line without a newline is applied, because its decision was acknowledged."""
    decisions.yank(foo.spec, foo.index, WHEEL, "one")
    os.truncate(log(foo), log(foo).stat().st_size - 1)
    lose(foo)
    foo.once()
    assert reasons(foo) == {("main", WHEEL): "one"}
    decisions.yank(foo.spec, foo.index, WHEEL, "two")
    assert [line["detail"] for line in lines(foo)[1:]] == ["one", "two"]


def altered(content: list[bytes]) -> list[bytes]:
    return [content[0], content[1].replace(b'"one"', b'"eno"'), *content[2:]]


def removed(content: list[bytes]) -> list[bytes]:
    return [content[0], *content[2:]]


def garbled(content: list[bytes]) -> list[bytes]:
    return [content[0], b"\xff garbage", *content[2:]]


TAMPERED = [
    (
        altered,
        ["line 3 does not match the digest of the line before: a line was changed or removed"],
    ),
    (
        removed,
        ["line 2 does not match the digest of the line before: a line was changed or removed"],
    ),
    (garbled, ["line 2 not readable; skipped", "line 3 does not match"]),
]


@pytest.mark.parametrize(("tamper", "problems"), TAMPERED)
def test_decision_log_reports_tampering(
    foo: Lab, tamper: object, problems: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Reading a changed decision log reports each bad line and applies the readable ones."""
    assert callable(tamper)
    for reason in ("one", "two", "three"):
        decisions.yank(foo.spec, foo.index, WHEEL, reason)
    log(foo).write_bytes(b"\n".join(tamper(log(foo).read_bytes().split(b"\n"))))
    messages = [line for line in rebuild(foo.spec) if "decisions.jsonl: line" in line]
    lose(foo)
    with caplog.at_level(logging.WARNING):
        foo.once()
    warnings = [r.getMessage() for r in caplog.records if "decisions.jsonl: line" in r.getMessage()]
    assert warnings == messages
    assert len(messages) == len(problems)
    assert all(problem in text for problem, text in zip(problems, messages, strict=True))
    assert reasons(foo) == {("main", WHEEL): "three"}


def test_lost_decision_log_starts_with_snapshot(foo: Lab) -> None:
    """A new decision log starts with the decisions in force, enough to replace a catalog."""
    decisions.yank(foo.spec, foo.index, WHEEL, "kept")
    log(foo).unlink()
    foo.once()
    (line,) = lines(foo)
    assert line["yanks"] == [["main", WHEEL, "kept"]]
    lose(foo)
    foo.once()
    assert reasons(foo) == {("main", WHEEL): "kept"}


def test_decision_fails_if_log_is_not_writable(foo: Lab) -> None:
    """A decision that cannot be logged changes nothing; the error names path and cause."""
    before = foo.journal()
    missing = foo.spec.model_copy(update={"state": foo.spec.state / "catalog.sqlite"})
    with pytest.raises(PyindexError, match=r"sqlite: Not a directory, nothing was changed$"):
        decisions.yank(missing, foo.index, WHEEL, "x")
    assert foo.journal() == before


def test_decision_log_is_not_world_readable(foo: Lab) -> None:
    """The decision log is readable only by the service user and its group."""
    assert log(foo).stat().st_mode & 0o777 == 0o640


def test_opening_catalog_keeps_complete_log(foo: Lab) -> None:
    """Opening the catalog changes neither a complete decision log nor the journal."""
    decisions.yank(foo.spec, foo.index, WHEEL, "x")
    before, journal = log(foo).read_bytes(), foo.journal()
    open_catalog(foo.spec, create=True)
    assert (log(foo).read_bytes(), foo.journal()) == (before, journal)
