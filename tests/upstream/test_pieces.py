"""Large files in pieces: requested side by side, written in order, whatever one of them does."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.upstream import Failed, Fetched
from tests.upstream.conftest import IMPATIENT, LIMITS
from tests.upstream.faulty import Behavior, Exchange, Faulty, status, whole
from tests.upstream.test_fetch import (
    CONTENT,
    GOOD,
    NAME,
    OTHER,
    fetched,
    remote,
    tree,
    without_ranges,
)

PIECE = 1000
LAST = len(CONTENT) - 1
STARTS = range(0, len(CONTENT), PIECE)
PIECES = replace(LIMITS, piece_bytes=PIECE)
HURRIED = replace(IMPATIENT, piece_bytes=PIECE)


def span(exchange: Exchange, start: int, content: bytes) -> str:
    return f"bytes {start}-{start + len(content) - 1}/{len(CONTENT)}"


def cut(exchange: Exchange) -> None:
    content = CONTENT[exchange.start :][:PIECE]
    exchange.head(206, Content_Length=PIECE, Content_Range=span(exchange, exchange.start, content))
    exchange.send(content[:10])
    exchange.cut()


def short_without_length(exchange: Exchange) -> None:
    content = CONTENT[exchange.start :][:PIECE]
    exchange.head(206, Connection="close", Content_Range=span(exchange, exchange.start, content))
    exchange.send(content[:10])
    exchange.cut()


def shorter(exchange: Exchange) -> None:
    content = CONTENT[exchange.start :][:10]
    exchange.answer(content, 206, Content_Range=span(exchange, exchange.start, content))


def another(exchange: Exchange) -> None:
    content = CONTENT[:PIECE]
    exchange.answer(content, 206, Content_Range=span(exchange, 0, content))


def of_another_size(exchange: Exchange) -> None:
    content = CONTENT[exchange.start :][:PIECE]
    last = exchange.start + len(content) - 1
    exchange.answer(content, 206, Content_Range=f"bytes {exchange.start}-{last}/{LAST}")


def wrong_bytes(exchange: Exchange) -> None:
    content = OTHER[exchange.start :][:PIECE]
    exchange.answer(content, 206, Content_Range=span(exchange, exchange.start, content))


FAULTS: dict[str, Behavior] = {
    "cut": cut,
    "short, without a length": short_without_length,
    "a shorter range": shorter,
    "another range": another,
    "of a file of another size": of_another_size,
    "other bytes": wrong_bytes,
    "the whole file": whole(CONTENT, etag=None),
    "reset": Exchange.reset,
    "stall": Exchange.stall,
    "500": status(500),
    "429": status(429, Retry_After="0"),
}


@pytest.mark.parametrize("start", [STARTS[1], STARTS[5], STARTS[-1]])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_piece_passes(
    faulty: Faulty, tmp_path: Path, fault: str, start: int
) -> None:
    is_new = threading.Event()

    def behave(exchange: Exchange) -> None:
        is_faulty = exchange.start == start and not is_new.is_set()
        if is_faulty:
            is_new.set()
        (FAULTS[fault] if is_faulty else GOOD)(exchange)

    faulty.behaviors["/f"] = behave
    (outcome,) = fetched([remote(faulty)], tmp_path, HURRIED)

    assert isinstance(outcome, Fetched)
    assert is_new.is_set()
    assert tree(tmp_path) == {NAME: CONTENT}


def test_each_piece_is_requested_once(faulty: Faulty, tmp_path: Path) -> None:
    faulty.behaviors["/f"] = GOOD
    fetched([remote(faulty)], tmp_path, PIECES)

    stops = [min(start + PIECE, len(CONTENT)) - 1 for start in STARTS]
    expected = {f"bytes={start}-{stop}" for start, stop in zip(STARTS, stops, strict=True)}
    ranges = [exchange.headers["range"] for exchange in faulty.requests]
    assert sorted(ranges) == sorted(expected)
    assert {exchange.headers.get("if-range") for exchange in faulty.requests[1:]} == {'"one"'}


@pytest.mark.parametrize(
    ("behavior", "piece_bytes", "has_digest"),
    [
        pytest.param(without_ranges, PIECE, True, id="server ignores ranges"),
        pytest.param(GOOD, len(CONTENT) // 2, True, id="small"),
        pytest.param(GOOD, PIECE, False, id="page has no digest"),
    ],
)
def test_files_in_one_response(
    faulty: Faulty, tmp_path: Path, behavior: Behavior, piece_bytes: int, has_digest: bool
) -> None:
    faulty.behaviors["/f"] = behavior
    file = remote(faulty) if has_digest else replace(remote(faulty), hashes={})
    fetched([file], tmp_path, replace(PIECES, piece_bytes=piece_bytes))

    assert len(faulty.requests) == 1
    assert tree(tmp_path) == {NAME: CONTENT}


def test_few_pieces_wait_for_an_early_one(faulty: Faulty, tmp_path: Path) -> None:
    """The second piece is answered only when no further one is requested."""
    seen: list[int] = []
    others = threading.Event()

    def behave(exchange: Exchange) -> None:
        if exchange.start == STARTS[1]:
            others.wait(0.5)  # never set: more pieces would be requested in this time
            seen.extend(each.start for each in faulty.requests)
        GOOD(exchange)

    faulty.behaviors["/f"] = behave
    fetched([remote(faulty)], tmp_path, PIECES)

    assert sorted(seen) == list(STARTS[: 1 + PIECES.pieces_ahead])


def test_a_changed_file_is_noticed(faulty: Faulty, tmp_path: Path) -> None:
    """Other bytes than the page states, in each attempt."""
    faulty.behaviors["/f"] = whole(OTHER)
    (outcome,) = fetched([remote(faulty)], tmp_path, PIECES)

    assert isinstance(outcome, Failed)
    assert "sha256" in outcome.reason
    assert tree(tmp_path) == {}


def test_resumed_in_pieces(faulty: Faulty, tmp_path: Path) -> None:
    """What an interrupted run has left is continued."""
    file = remote(faulty)
    digest = file.hashes["sha256"][:16]
    (tmp_path / f"{NAME}.{digest}.part").write_bytes(CONTENT[:2500])
    faulty.behaviors["/f"] = GOOD
    fetched([file], tmp_path, PIECES)

    assert min(exchange.start for exchange in faulty.requests) == 2500
    assert tree(tmp_path) == {NAME: CONTENT}
