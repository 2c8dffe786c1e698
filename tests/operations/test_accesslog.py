"""``pyindex who``: fetches in access logs of both forms, rotated ones included."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.errors import PyindexError
from appliance.operations.accesslog import Unread, fetches, log_files

FILE = "foo-1.0+lab-py3-none-any.whl"
URL = "/x/packages/sub/foo-1.0%2Blab-py3-none-any.whl"


def as_json(request: str, status: int = 200, **values: object) -> str:
    entry: dict[str, object] = {
        "time": "2026-11-29T20:15:02+01:00",
        "client": "192.0.2.7",
        "user": "",
        "actor": "",
        "request": request,
        "status": status,
        "sent": 1234,
        "agent": "pip/26.1",
    }
    return json.dumps(entry | values) + "\n"


def combined(request: str, user: str = "-", more: str = "") -> str:
    time = "29/Nov/2026:20:15:02 +0100"
    return f'192.0.2.7 - {user} [{time}] "{request}" 200 1234 "-" "pip/26.1"{more}\n'


GET = f"GET {URL} HTTP/1.1"
LINES = [
    (as_json(GET), ""),
    (as_json(GET, 206, user="bob"), "bob"),
    (as_json(GET, 304, user="__token__", actor="alice (token ci)"), "alice (token ci)"),
    (combined(GET), ""),
    (combined(GET, "bob"), "bob"),
    (combined(GET, "__token__", ' "token ci" 0.002'), "token ci"),
    (combined(f"GET {URL}?x=1 HTTP/1.1", more=' "" 0.002'), ""),
]
OTHERS = [
    as_json(f"HEAD {URL} HTTP/1.1"),
    as_json(GET, 404),
    as_json(f"GET {URL}.metadata HTTP/1.1"),
    as_json("GET /packages/foo-2.0.tar.gz HTTP/1.1"),
    as_json(f"GET /simple/foo/?x={URL} HTTP/1.1"),
    combined("GET /packages/ HTTP/1.1"),
    combined(f"GET //[{URL} HTTP/1.1"),
]


@pytest.mark.parametrize(("line", "actor"), LINES)
def test_fetch_is_found(tmp_path: Path, line: str, actor: str) -> None:
    """A line of either form says when, who, from where and with what, whatever the URL's spelling;
    a release means its files."""
    log = tmp_path / "access.log"
    log.write_text("".join(OTHERS) + line)
    for what in (FILE, "FOO == 1.0+lab"):
        unread = Unread()
        (fetch,) = fetches([log], what, 0.0, unread)
        assert fetch.time.isoformat() == "2026-11-29T20:15:02+01:00"
        assert (fetch.client, fetch.actor, fetch.sent) == ("192.0.2.7", actor, 1234)
        assert (fetch.filename, fetch.agent, unread.lines) == (FILE, "pip/26.1", 0)


AGENTS = [
    (r"pip/26.1 {\x22ci\x22:null}", 'pip/26.1 {"ci":null}'),
    (r"\xC3\xA9 \x5Cx41", r"é \x41"),
    (r"\xff \x1b \xg1", "\ufffd \x1b \\xg1"),
]


@pytest.mark.parametrize(("text", "agent"), AGENTS)
def test_agent_in_lines_is_unescaped(tmp_path: Path, text: str, agent: str) -> None:
    """Quotes and bytes that a log in lines has as ``\\xNN`` are those that the client sent."""
    log = tmp_path / "access.log"
    log.write_text(combined(GET).replace("pip/26.1", text))
    (fetch,) = fetches([log], FILE, 0.0, Unread())
    assert fetch.agent == agent


def test_fetch_before_a_time_is_left_out(tmp_path: Path) -> None:
    """Fetches before a time are left out."""
    log = tmp_path / "access.log"
    log.write_text(as_json(GET) + as_json(GET, time="2026-11-30T00:00:00+00:00"))
    assert len(list(fetches([log], FILE, 1_795_989_600.0, Unread()))) == 1


BROKEN = [as_json(GET)[:150] + "\n", '{"request": "/packages/"}\n', "/packages/\n", "[/packages/\n"]


def test_lines_that_are_no_entries_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut and foreign lines are skipped and counted; bytes that are not UTF-8 stop nothing."""
    log = tmp_path / "access.log"
    log.write_bytes("".join(BROKEN).encode() + b"\xff\xfe\n" + as_json(GET).encode())
    assert main(["who", FILE, "--log", str(log)]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[-1] == "1 fetch by 1 client"
    assert output.err == "pyindex: 4 lines of the logs not readable; skipped\n"


def test_rotated_logs_are_read_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rotated logs come oldest first, compressed ones too, by number or by date."""
    for name, client in (
        ("access.log", "5"),
        ("access.log.1", "4"),
        ("access.log.2.gz", "3"),
        ("access.log.10.gz", "2"),
        ("access.log-20261101.gz", "1"),
        ("error.log", "0"),
    ):
        content = as_json(GET, client=client).encode()
        is_compressed = name.endswith(".gz")
        (tmp_path / name).write_bytes(gzip.compress(content) if is_compressed else content)
    log = tmp_path / "access.log"
    assert main(["who", "foo==1.0+lab", "--log", str(log), "--json"]) == 0
    clients = [each["client"] for each in json.loads(capsys.readouterr().out)]
    assert sorted(clients) == ["1", "2", "3", "4", "5"]
    assert [each for each in clients if each != "1"] == ["2", "3", "4", "5"]


@pytest.mark.parametrize("damage", [lambda data: data[:-4], lambda data: data[4:]])
def test_damaged_log_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    """A compressed log that was cut, or is none, is an error."""
    log = tmp_path / "access.log.1.gz"
    log.write_bytes(damage(gzip.compress(as_json(GET).encode())))
    assert main(["who", FILE, "--log", str(tmp_path / "access.log")]) == 1
    assert capsys.readouterr().err.startswith(f"pyindex: {log}: damaged: ")


@pytest.mark.parametrize("what", ["foo", "foo-1.0", "foo>=1.0", ""])
def test_what_means_no_file(capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Text that is neither a file name nor a release is an error, not an answer of no fetches."""
    assert main(["who", what]) == 1
    error = f"pyindex: expected a file name or PROJECT==VERSION, got {what!r}\n"
    assert capsys.readouterr().err == error


def test_missing_log_is_reported(tmp_path: Path) -> None:
    """A path without a log is an error."""
    with pytest.raises(PyindexError, match=r"access\.log: no such log; pass --log FILE"):
        log_files([tmp_path / "access.log"])


def test_table_escapes_what_clients_send(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters that a client sent do not reach the terminal."""
    log = tmp_path / "access.log"
    log.write_text(as_json(GET, agent="pip\x1b[31m"))
    assert main(["who", FILE, "--log", str(log), "--since", "2020-01-01"]) == 0
    assert capsys.readouterr().out == (
        f"2026-11-29 20:15:02+01:00 192.0.2.7 - 200 1234 {FILE} pip\\x1b[31m\n1 fetch by 1 client\n"
    )
