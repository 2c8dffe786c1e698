"""Uploads to running servers: many at once, cut off, and while workers are killed."""

import base64
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import eventually
from tests.dist import make_wheel
from tests.integration.uploaders import PASSWORDS, Target, behind_nginx, embedded
from tests.nginx.servers import PATIENCE
from tests.uploads.forms import CONTENT_TYPE, of_file

pytestmark = pytest.mark.integration
ROUNDS = int(os.environ.get("PYINDEX_KILL_ROUNDS", "4"))
_LOGIN = base64.b64encode(f"alice:{PASSWORDS['alice']}".encode()).decode()
HEADERS = {"Content-Type": CONTENT_TYPE, "Authorization": f"Basic {_LOGIN}"}


@pytest.fixture(params=[embedded, behind_nginx], ids=lambda form: form.__name__)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """Index that accepts uploads, from the embedded server and through nginx with HTTPS."""
    with request.param(tmp_path) as running:
        yield running


def connect(target: Target) -> http.client.HTTPConnection:
    url = urlsplit(target.url)
    assert url.hostname is not None
    if target.ca is None:
        return http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE)
    trusted = ssl.create_default_context(cafile=target.ca)
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=PATIENCE, context=trusted)


def post(target: Target, body: bytes) -> tuple[int, str]:
    """Upload a form; return status and reason."""
    with closing(connect(target)) as connection:
        connection.request("POST", "/legacy/", body, HEADERS)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.reason


def listed(target: Target, project: str) -> dict[str, str]:
    """Return the digest of each file on a project's page by name."""
    with closing(connect(target)) as connection:
        accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
        connection.request("GET", f"/simple/{project}/", headers=accept)
        answer = connection.getresponse()
        body = answer.read()
    if answer.status == 404:
        return {}
    assert answer.status == 200, body
    return {each["filename"]: each["hashes"]["sha256"] for each in json.loads(body)["files"]}


def names(target: Target) -> set[str]:
    """Return all names in the packages directory, also hidden ones."""
    return {  # a walk that passes over directories which vanish meanwhile
        os.path.relpath(os.path.join(directory, name), target.packages)  # noqa: PTH118
        for directory, directories, files in os.walk(target.packages)
        for name in (*directories, *files)
    }


def test_parallel_uploads_are_whole(target: Target, tmp_path: Path) -> None:
    """Of many uploads at once, half of them of one name, each is whole, and one of a name wins."""
    count, at_once = (200, 24) if target.ca is None else (40, 12)  # nginx limits what is at once
    bodies: list[tuple[str, str, bytes]] = []
    for number in range(count):
        version = "0" if number % 2 else str(number)
        (directory := tmp_path / f"made-{number}").mkdir()
        wheel = make_wheel(directory, "storm", version, summary=f"number {number}")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        bodies.append((wheel.name, digest, of_file(wheel, "storm", version)))

    def send(name: str, digest: str, body: bytes) -> tuple[str, str, int, str, bool]:
        status, reason = post(target, body)
        is_listed = status != 200 or listed(target, "storm").get(name) == digest
        return name, digest, status, reason, is_listed

    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda each: send(*each), bodies))

    stored = {name: digest for name, digest, status, _, _ in answers if status == 200}
    refused = [reason for _, _, status, reason, _ in answers if status != 200]
    assert all(is_listed for *_, is_listed in answers)
    assert len(stored) == count - len(refused)
    assert all(reason.startswith("File already exists") for reason in refused)
    assert len(refused) == count // 2  # number 0 has the version of the odd ones
    assert listed(target, "storm") == stored
    for name, digest in stored.items():
        assert hashlib.sha256((target.packages / name).read_bytes()).hexdigest() == digest
    assert names(target) == stored.keys()


def test_uploads_that_are_cut_off_leave_nothing(target: Target, tmp_path: Path) -> None:
    """An upload whose connection is closed at any tenth of its body is never visible."""
    wheel = make_wheel(tmp_path, "cut", "1.0", modules={"cut": f"x = {os.urandom(40_000).hex()!r}"})
    body = of_file(wheel, "cut", "1.0")
    for tenth in range(10):
        with closing(connect(target)) as connection:
            connection.putrequest("POST", "/legacy/")
            for name, value in (HEADERS | {"Content-Length": str(len(body))}).items():
                connection.putheader(name, value)
            connection.endheaders()
            connection.send(body[: len(body) * tenth // 10])
            if tenth % 2:  # half of them wait to be answered
                connection.sock.shutdown(socket.SHUT_WR)
        assert listed(target, "cut") == {}
    eventually(lambda: names(target) == set())
    assert post(target, body)[0] == 200
    assert list(listed(target, "cut")) == [wheel.name]


def test_slow_uploads_block_no_others(tmp_path: Path) -> None:
    """More uploads than there are threads wait for their clients, and others are answered."""
    body = of_file(make_wheel(tmp_path, "slow", "1.0"), "slow", "1.0")
    head = HEADERS | {"Content-Length": str(len(body) + 200_000)}
    (directory := tmp_path / "index").mkdir()
    with embedded(directory) as target, ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(closing(connect(target)))
            connection.putrequest("POST", "/legacy/")
            for name, value in head.items():
                connection.putheader(name, value)
            connection.endheaders(body[:-20])
        eventually(lambda: sum(name.endswith(".content") for name in names(target)) == 40)
        assert listed(target, "slow") == {}
        assert post(target, body) == (200, "OK")
        stack.close()
        eventually(lambda: names(target) == {"slow-1.0-py2.py3-none-any.whl"})


def test_client_may_wait_for_permission_to_send(target: Target, tmp_path: Path) -> None:
    """A client that sends `Expect: 100-continue` is told to send a body that is accepted, and gets
    an error instead for one that is not."""
    text = os.urandom(45_000).hex()
    wheel = make_wheel(tmp_path, "expects", "1.0", modules={"expects": f"x = {text!r}"})
    form = tmp_path / "form"
    form.write_bytes(of_file(wheel, "expects", "1.0"))
    command = ["curl", "--silent", "--show-error", "--include", "--data-binary", f"@{form}"]
    command += ["--header", f"Content-Type: {CONTENT_TYPE}", "--header", "Expect: 100-continue"]
    command += ["--cacert", target.ca] if target.ca else []
    for login, status in (([], "401"), (["--user", f"alice:{PASSWORDS['alice']}"], "200")):
        done = subprocess.run(
            [*command, *login, target.endpoint], capture_output=True, text=True, check=True
        )
        answers = [line.split()[1] for line in done.stdout.splitlines() if "HTTP/1.1" in line]
        assert answers[-1] == status
        assert target.ca or (len(answers) == 2) == (status == "200")


def test_upload_without_answer_is_sent_again(target: Target, tmp_path: Path) -> None:
    """A client that is cut off after its last byte sends the file again, and gets 200."""
    body = of_file(make_wheel(tmp_path, "again", "1.0"), "again", "1.0")
    connection = connect(target)
    connection.request("POST", "/legacy/", body, HEADERS)
    connection.close()
    assert post(target, body) == (200, "OK")


def workers(target: Target) -> list[int]:
    """Return the process ids of the workers."""
    command = f"serve --spec {target.packages.parent}/pyindex.yml"
    found = subprocess.run(["pgrep", "-f", command], capture_output=True, text=True, check=False)
    pids = {int(line) for line in found.stdout.split()}
    return [pid for pid in pids if _parent(pid) in pids]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Sender(threading.Thread):
    """Uploads new files until it is stopped.

    Attributes:
        sent: Digests by name of files, also of those without an answer.
        stored: Those of files that were answered 200.
    """

    def __init__(self, target: Target, directory: Path, number: int) -> None:
        super().__init__()
        self.sent: dict[str, str] = {}
        self.stored: dict[str, str] = {}
        self.problems: list[str] = []
        self.stopping = threading.Event()
        self._target, self._directory, self._number = target, directory, number

    def run(self) -> None:
        for count in range(10_000):
            if self.stopping.is_set():
                return
            version = f"{self._number}.{count}"
            wheel = make_wheel(self._directory, "killed", version, summary="x" * 5000)
            self._send(wheel, of_file(wheel, "killed", version))

    def _send(self, wheel: Path, body: bytes) -> None:
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.sent[wheel.name] = digest
        try:
            status, reason = post(self._target, body)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            return
        if status == 200:
            self.stored[wheel.name] = digest
        elif status not in (429, 502, 503, 504):
            self.problems.append(f"{status} {reason}")


def test_killed_workers_lose_no_upload(target: Target, tmp_path: Path) -> None:
    """While workers are killed, every upload that was answered 200 stays, and nothing partial."""
    dice = random.Random(0)
    (made := tmp_path / "made").mkdir()
    senders = [Sender(target, made, number) for number in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(ROUNDS):
        time.sleep(dice.uniform(0.1, 1.0))
        alive = workers(target)
        if alive:
            os.kill(dice.choice(alive), signal.SIGKILL)
        eventually(lambda: len(workers(target)) == 2)
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join()

    assert [problem for sender in senders for problem in sender.problems] == []
    stored = {name: digest for each in senders for name, digest in each.stored.items()}
    sent = {name: digest for each in senders for name, digest in each.sent.items()}
    assert stored
    wheel = make_wheel(tmp_path, "killed", "9.9")
    eventually(lambda: post(target, of_file(wheel, "killed", "9.9"))[0] == 200)
    sent[wheel.name] = stored[wheel.name] = hashlib.sha256(wheel.read_bytes()).hexdigest()

    shown = listed(target, "killed")
    assert stored.items() <= shown.items() <= sent.items()
    eventually(lambda: names(target) == shown.keys())
    for name, digest in shown.items():
        assert hashlib.sha256((target.packages / name).read_bytes()).hexdigest() == digest
