"""Fetching files: outcomes with a faulty server, resumption, full disks."""

import asyncio
import fcntl
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from appliance.upstream import (
    Client,
    Failed,
    Fetched,
    Limits,
    Outcome,
    RemoteFile,
    Upstreams,
    fetch,
)
from tests.upstream.conftest import HASTY, IMPATIENT, LIMITS
from tests.upstream.faulty import Behavior, Exchange, Faulty, in_turn, serving, status, whole

NAME = "foo-1.0-py3-none-any.whl"
CONTENT = bytes(range(256)) * 40
OTHER = b"x" * len(CONTENT)
HALF = len(CONTENT) // 2


def remote(
    faulty: Faulty, content: bytes = CONTENT, name: str = NAME, path: str = "/f"
) -> RemoteFile:
    digest = hashlib.sha256(content).hexdigest()
    return RemoteFile(name, faulty.url + path, {"sha256": digest}, len(content))


def fetched(files: Sequence[RemoteFile], directory: Path, limits: Limits = LIMITS) -> list[Outcome]:
    async def main() -> list[Outcome]:
        async with Client(Upstreams(), limits=limits) as client:
            return await fetch(client, files, directory)

    return asyncio.run(main())


def tree(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# --- faults that pass ----------------------------------------------------------------------------


def half(exchange: Exchange) -> None:
    exchange.head(ETag='"one"', Content_Length=len(CONTENT))
    exchange.send(CONTENT[:HALF])


def cuts(exchange: Exchange) -> None:
    half(exchange)
    exchange.cut()


def resets(exchange: Exchange) -> None:
    half(exchange)
    exchange.reset()


def stalls(exchange: Exchange) -> None:
    half(exchange)
    exchange.stall()


def stalls_at_once(exchange: Exchange) -> None:
    exchange.stall()


def drips(exchange: Exchange) -> None:
    exchange.head(ETag='"one"', Content_Length=len(CONTENT))
    exchange.drip(CONTENT)


def chunked(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))


def cuts_chunks(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked", ETag='"one"')
    exchange.send(b"%x\r\n%s\r\n" % (HALF, CONTENT[:HALF]))
    exchange.cut()


def shorter_length(exchange: Exchange) -> None:
    """A length that is too short, and a body that is not."""
    exchange.head(Content_Length=HALF)
    exchange.send(CONTENT)


def other_range(exchange: Exchange) -> None:
    exchange.answer(CONTENT[1:], 206, Content_Range=f"bytes 1-{len(CONTENT) - 1}/{len(CONTENT)}")


def without_ranges(exchange: Exchange) -> None:
    exchange.answer(CONTENT)


def cuts_after_other(exchange: Exchange) -> None:
    """The first half of another file, with the same ETag."""
    exchange.head(ETag='"one"', Content_Length=len(CONTENT))
    exchange.send(OTHER[:HALF])
    exchange.cut()


def cuts_often(exchange: Exchange) -> None:
    """More cuts than attempts, but each after some progress."""
    start = exchange.start
    stop = min(start + 1100, len(CONTENT))
    last = len(CONTENT) - 1
    is_first = "range" not in exchange.headers
    headers = {} if is_first else {"Content_Range": f"bytes {start}-{last}/{len(CONTENT)}"}
    exchange.head(200 if is_first else 206, Content_Length=len(CONTENT) - start, **headers)
    exchange.send(CONTENT[start:stop])
    if stop < len(CONTENT):
        exchange.cut()


GOOD = whole(CONTENT)
SOON = formatdate(usegmt=True)
# (behavior, limits, ranges of the requests)
PASSING: dict[str, tuple[Behavior, Limits, list[str | None]]] = {
    "none": (GOOD, LIMITS, [None]),
    "cut": (in_turn(cuts, GOOD), LIMITS, [None, f"bytes={HALF}-"]),
    "reset": (in_turn(resets, GOOD), LIMITS, []),  # the kernel may drop what was received
    "stall": (in_turn(stalls, GOOD), IMPATIENT, [None, f"bytes={HALF}-"]),
    "stall at once": (in_turn(stalls_at_once, GOOD), IMPATIENT, [None, None]),
    "slow drip": (in_turn(drips, GOOD), HASTY, []),
    "500": (in_turn(status(500), GOOD), LIMITS, [None, None]),
    "503 twice": (in_turn(status(503), status(503), GOOD), LIMITS, [None, None, None]),
    "429, seconds": (in_turn(status(429, Retry_After="3600"), GOOD), LIMITS, [None, None]),
    "429, date": (in_turn(status(429, Retry_After=SOON), GOOD), LIMITS, [None, None]),
    "429, nonsense": (in_turn(status(429, Retry_After="soon"), GOOD), LIMITS, [None, None]),
    "chunked": (chunked, LIMITS, [None]),
    "chunks cut": (in_turn(cuts_chunks, GOOD), LIMITS, [None, f"bytes={HALF}-"]),
    "no ranges": (in_turn(cuts, without_ranges), LIMITS, [None, f"bytes={HALF}-"]),
    "another range": (in_turn(cuts, other_range, GOOD), LIMITS, [None, f"bytes={HALF}-", None]),
    "416": (in_turn(cuts, status(416), GOOD), LIMITS, [None, f"bytes={HALF}-", None]),
    "another file by ETag": (
        in_turn(cuts, whole(CONTENT, '"two"')),
        LIMITS,
        [None, f"bytes={HALF}-"],
    ),
    "another file, same ETag": (
        in_turn(cuts_after_other, GOOD),
        LIMITS,
        [None, f"bytes={HALF}-", None],
    ),
    "many cuts": (cuts_often, LIMITS, []),
}


@pytest.mark.parametrize("fault", PASSING)
def test_fetch_survives_fault(faulty: Faulty, tmp_path: Path, fault: str) -> None:
    """A fault that passes costs retries; the file is complete, and continued where it can be."""
    faulty.behaviors["/f"], limits, ranges = PASSING[fault]
    directory = tmp_path / "packages"
    (outcome,) = fetched([remote(faulty)], directory, limits)
    assert outcome == Fetched(remote(faulty), directory / NAME, len(CONTENT), "sha256", True)
    assert tree(directory) == {NAME: CONTENT}
    if ranges:
        assert [request.headers.get("range") for request in faulty.requests] == ranges


# --- faults that stay ----------------------------------------------------------------------------


def moved(where: str) -> Behavior:
    return status(302, Location=where)


def endless(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    while True:
        exchange.send(b"%x\r\n%s\r\n" % (len(CONTENT), CONTENT))


def nonsense(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n")
    exchange.cut()


REPORT = "report it to the operator of the index"
CHECK = "check the network and the server"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHERS = hashlib.sha256(OTHER).hexdigest()
# (behavior, limits, message after the URL)
STAYING: dict[str, tuple[Behavior, Limits, str]] = {
    "cut": (cuts, LIMITS, f"connection lost: body cut short or malformed; {CHECK}"),
    "stall": (stalls, IMPATIENT, f"timed out; {CHECK}"),
    "stall at once": (stalls_at_once, IMPATIENT, f"timed out; {CHECK}"),
    "404": (status(404), LIMITS, "the server answered 404; check the index"),
    "500": (status(500), LIMITS, "the server answered 500; retry later"),
    "429": (status(429, Retry_After="1"), LIMITS, "the server answered 429; retry later"),
    "401": (
        status(401),
        LIMITS,
        "the server answered 401, and no password is known; add one to ~/.netrc or the URL",
    ),
    "403": (
        status(403),
        LIMITS,
        "the server answered 403; check user, password and permissions",
    ),
    "redirect to itself": (moved("/f"), LIMITS, "redirects in a circle; check the URL"),
    "redirect to a file": (
        moved("file:///etc/passwd"),
        LIMITS,
        "redirects to 'file:///etc/passwd'; check the URL",
    ),
    "redirect to nonsense": (
        moved("https://[::1"),
        LIMITS,
        "redirects to 'https://[::1'; check the URL",
    ),
    "wrong digest": (
        whole(OTHER),
        LIMITS,
        f"sha256 is {OTHERS}, expected {DIGEST}; {REPORT}",
    ),
    "too long": (
        whole(CONTENT + b"x"),
        LIMITS,
        f"has {len(CONTENT) + 1} bytes, expected {len(CONTENT)}; {REPORT}",
    ),
    "too short": (
        whole(CONTENT[1:]),
        LIMITS,
        f"has {len(CONTENT) - 1} bytes, expected {len(CONTENT)}; {REPORT}",
    ),
    "endless": (endless, LIMITS, f"has more than {len(CONTENT)} bytes; {REPORT}"),
    "not HTTP": (nonsense, LIMITS, "not HTTP: bad status line; check the URL and proxy"),
}


@pytest.mark.parametrize("fault", STAYING)
def test_fetch_reports_fault(faulty: Faulty, tmp_path: Path, fault: str) -> None:
    """A fault that stays is an outcome with its reason, and stops no other file."""
    faulty.behaviors["/f"], limits, reason = STAYING[fault]
    faulty.behaviors["/g"] = GOOD
    other = remote(faulty, name="bar-1.0.tar.gz", path="/g")
    first, second = fetched([remote(faulty), other], tmp_path / "packages", limits)
    assert first == Failed(remote(faulty), f"{faulty.url}/f: {reason}")
    assert isinstance(second, Fetched)
    left = tree(tmp_path / "packages")
    assert left.pop("bar-1.0.tar.gz") == CONTENT
    # What was received of the right file is kept for the next run.
    assert left in ({}, {f"{NAME}.{DIGEST[:16]}.part": CONTENT[:HALF]})


def test_fetch_reports_length_that_is_too_short(faulty: Faulty, tmp_path: Path) -> None:
    """A body that is longer than the server states is an outcome, and spoils no other file."""
    faulty.behaviors |= {"/f": shorter_length, "/g": GOOD}
    other = remote(faulty, name="bar-1.0.tar.gz", path="/g")
    first, second = fetched([remote(faulty), other], tmp_path)
    reasons = (  # the rest of the body may arrive with the head, or later
        f"has {HALF} bytes, expected {len(CONTENT)}; {REPORT}",
        "not HTTP: bad status line; check the URL and proxy",
    )
    assert first in [Failed(remote(faulty), f"{faulty.url}/f: {reason}") for reason in reasons]
    assert isinstance(second, Fetched)


def test_fetch_reports_server_that_disappears(tmp_path: Path) -> None:
    """A server that refuses connections is an outcome."""
    with serving() as server:
        file = remote(server)
    (outcome,) = fetched([file], tmp_path)
    problem = "cannot connect: Connection refused; check the URL and network"
    assert outcome == Failed(file, f"{file.url}: {problem}")
    assert tree(tmp_path) == {}


# (file name, reason)
HOSTILE = [
    "../x-1.0-py3-none-any.whl",
    "/etc/x-1.0.tar.gz",
    "x\0-1.0.tar.gz",
    "x-1.0.tar.gz\n",
    "-x-1.0.tar.gz",
    ".x-1.0.tar.gz",
    "x" * 300 + "-1.0.tar.gz",
    "x-1.0.tar.gz.part",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_fetch_rejects_hostile_names(faulty: Faulty, tmp_path: Path, name: str) -> None:
    """A file name that is not one of a package file is never fetched."""
    directory = tmp_path / "a" / "packages"
    (outcome,) = fetched([remote(faulty, name=name)], directory)
    assert isinstance(outcome, Failed)
    assert outcome.reason.endswith("; fetch another file")
    assert (faulty.requests, tree(directory), list(tmp_path.glob("a/*"))) == ([], {}, [directory])


@pytest.mark.parametrize("digest", ["../../x", "", "ab" * 31, "zz" * 32])
def test_fetch_rejects_digests_that_are_none(faulty: Faulty, tmp_path: Path, digest: str) -> None:
    """What is no hex digest never becomes a part of a path."""
    file = replace(remote(faulty), hashes={"sha256": digest})
    (outcome,) = fetched([file], tmp_path)
    message = f"{faulty.url}/f: expected the digest sha256 in hex, got {digest!r}; {REPORT}"
    assert outcome == Failed(file, message)


# --- other runs ----------------------------------------------------------------------------------


def test_later_run_continues(faulty: Faulty, tmp_path: Path) -> None:
    """A later run continues what an earlier one has left, and fetches only the rest."""
    faulty.behaviors["/f"] = cuts
    assert isinstance(fetched([remote(faulty)], tmp_path)[0], Failed)
    faulty.behaviors["/f"] = GOOD
    assert isinstance(fetched([remote(faulty)], tmp_path)[0], Fetched)
    assert faulty.requests[-1].headers["range"] == f"bytes={HALF}-"
    assert tree(tmp_path) == {NAME: CONTENT}


@pytest.mark.parametrize("left", [OTHER[:HALF], OTHER, OTHER + b"more", CONTENT, b""])
def test_later_run_replaces_damaged_parts(faulty: Faulty, tmp_path: Path, left: bytes) -> None:
    """Whatever an earlier run has left, the file is right at last."""
    (tmp_path / f"{NAME}.{DIGEST[:16]}.part").write_bytes(left)
    faulty.behaviors["/f"] = GOOD
    assert isinstance(fetched([remote(faulty)], tmp_path)[0], Fetched)
    assert tree(tmp_path) == {NAME: CONTENT}


def test_second_run_sends_no_request(faulty: Faulty, tmp_path: Path) -> None:
    """A file that is there is verified and not fetched."""
    faulty.behaviors["/f"] = GOOD
    fetched([remote(faulty)], tmp_path)
    (outcome,) = fetched([remote(faulty)], tmp_path)
    assert isinstance(outcome, Fetched)
    assert (outcome.is_new, len(faulty.requests)) == (False, 1)


@pytest.mark.parametrize("there", [OTHER, CONTENT[1:]])
def test_fetch_replaces_no_file(faulty: Faulty, tmp_path: Path, there: bytes) -> None:
    """A file with another content is never replaced."""
    (tmp_path / NAME).write_bytes(there)
    (outcome,) = fetched([remote(faulty)], tmp_path)
    problem = f"{tmp_path / NAME}: has another size or digest than {faulty.url}/f; remove it"
    assert outcome == Failed(remote(faulty), problem)
    assert tree(tmp_path) == {NAME: there}


def test_fetch_waits_for_no_other_process(faulty: Faulty, tmp_path: Path) -> None:
    """A file that another process fetches is an outcome."""
    path = tmp_path / f"{NAME}.{DIGEST[:16]}.part"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (outcome,) = fetched([remote(faulty)], tmp_path)
    message = f"{path}: another process fetches this file; wait for it to end"
    assert outcome == Failed(remote(faulty), message)


def test_fetch_without_digest_checks_size(faulty: Faulty, tmp_path: Path) -> None:
    """A file without digest is fetched, and its outcome says that no digest was verified."""
    faulty.behaviors["/f"] = in_turn(cuts, GOOD)
    file = RemoteFile(NAME, f"{faulty.url}/f")
    (outcome,) = fetched([file], tmp_path)
    assert outcome == Fetched(file, tmp_path / NAME, len(CONTENT), None, True)
    assert faulty.requests[-1].headers["if-range"] == '"one"'
    assert tree(tmp_path) == {NAME: CONTENT}


def test_fetch_without_digest_requires_https_of_index(faulty: Faulty, tmp_path: Path) -> None:
    """A page on https that links to a file on http must state its digest."""
    file = RemoteFile(NAME, f"{faulty.url}/f", index="https://index.example/simple/")
    problem = "has no digest, and is not on https as its index"
    assert fetched([file], tmp_path) == [Failed(file, f"{file.url}: {problem}; {REPORT}")]
    assert faulty.requests == []


def test_fetch_limits_size_that_is_not_stated(faulty: Faulty, tmp_path: Path) -> None:
    """A file of unstated size has a limit."""
    faulty.behaviors["/f"] = endless
    file = RemoteFile(NAME, f"{faulty.url}/f")
    (outcome,) = fetched([file], tmp_path)
    assert outcome == Failed(file, f"{file.url}: has more than 1000000 bytes; {REPORT}")
    assert tree(tmp_path) == {}


def test_fetch_tries_alternatives(faulty: Faulty, tmp_path: Path) -> None:
    """Files of one name and digest are alternatives; what one has sent, the next continues."""
    faulty.behaviors |= {"/a": status(404), "/b": cuts, "/c": GOOD}
    files = [remote(faulty, path=path) for path in ("/a", "/b", "/c")]
    other = remote(faulty, OTHER, path="/other")
    (outcome,) = fetched([*files, other], tmp_path)
    assert outcome == Fetched(files[2], tmp_path / NAME, len(CONTENT), "sha256", True)
    assert faulty.requests[-1].headers["range"] == f"bytes={HALF}-"
    assert "/other" not in faulty.paths()


def test_fetch_reports_all_alternatives(faulty: Faulty, tmp_path: Path) -> None:
    """If no alternative works, the outcome has the reason of each."""
    files = [remote(faulty, path=path) for path in ("/a", "/b")]
    (outcome,) = fetched(files, tmp_path)
    answers = [f"{file.url}: the server answered 404; check the index" for file in files]
    assert outcome == Failed(files[0], "; ".join(answers))


def test_mtime_is_upload_time(faulty: Faulty, tmp_path: Path) -> None:
    """The mtime of a file is its upload time, from which an index takes it."""
    faulty.behaviors["/f"] = GOOD
    fetched([replace(remote(faulty), upload_time=1_600_000_000_123_456)], tmp_path)
    assert (tmp_path / NAME).stat().st_mtime_ns == 1_600_000_000_123_456_000


def test_fetch_reports_progress(faulty: Faulty, tmp_path: Path) -> None:
    """Progress ends at the numbers of files and bytes, also after a restart."""
    faulty.behaviors |= {"/f": in_turn(cuts, without_ranges), "/g": GOOD}
    files = [remote(faulty), remote(faulty, name="bar-1.0.tar.gz", path="/g")]
    seen: list[tuple[int, int]] = []

    async def main() -> None:
        async with Client(Upstreams(), limits=LIMITS) as client:
            await fetch(client, files, tmp_path, lambda *numbers: seen.append(numbers))

    asyncio.run(main())
    assert seen[-1] == (2, 2 * len(CONTENT))
    assert all(count >= 0 for _, count in seen)


def test_local_files_are_copied(tmp_path: Path) -> None:
    """A file of a local index is copied, with the same checks."""
    source = tmp_path / "source"
    source.mkdir()
    (source / NAME).write_bytes(CONTENT)
    good = RemoteFile(NAME, (source / NAME).as_uri(), {"sha256": DIGEST}, len(CONTENT))
    bad = replace(good, filename="foo-2.0.tar.gz", hashes={"sha256": OTHERS})
    gone = replace(good, filename="foo-3.0.tar.gz", url=(source / "gone").as_uri())
    first, second, third = fetched([good, bad, gone], tmp_path / "packages")
    assert isinstance(first, Fetched)
    assert second == Failed(bad, f"{bad.url}: sha256 is {DIGEST}, expected {OTHERS}; {REPORT}")
    assert third == Failed(gone, f"{source}/gone: No such file or directory; check the index")
    assert tree(tmp_path / "packages") == {NAME: CONTENT}


def test_full_disk_keeps_complete_files(faulty: Faulty, small_disk: Path) -> None:
    """On a full disk complete files stay, and the others fail with what to do."""
    large = bytes(6 << 20)
    faulty.behaviors |= {"/f": GOOD, "/g": whole(large)}
    small = remote(faulty)
    assert isinstance(fetched([small], small_disk)[0], Fetched)
    file = remote(faulty, large, "bar-1.0.tar.gz", "/g")
    later = remote(faulty, name="baz-1.0.tar.gz")
    outcomes = fetched([small, file, later], small_disk)
    reason = f"{small_disk}: No space left on device; free some disk space"
    assert isinstance(outcomes[0], Fetched)
    assert outcomes[1] == Failed(file, reason)
    assert (small_disk / NAME).read_bytes() == CONTENT
