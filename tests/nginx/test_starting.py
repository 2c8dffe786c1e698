"""Answers of both servers before the first scan of an index has ended."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from appliance import render, spec
from appliance.spec import Spec
from appliance.web.negotiate import JSON
from benchmarks.ports import HOST, free_port
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.nginx.servers import Server, application, running, serving
from tests.nginx.sites import nginx_port

PROJECTS = 150
NAMES = [f"p{number:03}" for number in range(PROJECTS)]


def filename(name: str) -> str:
    return f"{name}-1.0-py2.py3-none-any.whl"


def write(path: Path, indexes: str) -> Spec:
    port = free_port()
    path.write_text(
        f"url: http://{HOST}:{free_port()}\nstate: state\nserver: {{port: {port}}}\n"
        f"indexes: {{{indexes}}}\n"
    )
    return spec.load(path)


def ask_all(server: Server, names: list[str]) -> bool:
    """Check that list and projects are complete or 503; return whether none was 503."""
    whole = True
    for path in ("/simple/", *(f"/simple/{name}/" for name in names), "/packages/"):
        answer = server.ask(path, {"Accept": JSON})
        if answer.status == 503:
            assert answer.headers["retry-after"] == "5", answer
            assert b"is being scanned for the first time; retry" in answer.body
            whole = False
            continue
        assert answer.status == 200, (path, answer)
        if path == "/simple/":
            projects = json.loads(answer.body)["projects"]
            assert [project["name"] for project in projects] == NAMES
        elif path.startswith("/simple/"):
            (file,) = json.loads(answer.body)["files"]
            assert file["filename"] == filename(path.split("/")[2])
            assert file["url"] == f"../../packages/{file['filename']}"  # not that of a base
    return whole


@pytest.mark.parametrize("event", ["first start", "lost catalog", "lost state", "new index"])
def test_servers_never_send_partial_index(tmp_path: Path, event: str) -> None:
    """Both servers answer 503 before the first scan, after a loss and above a base of the same
    names, until the complete index is published."""
    for name in ("team", "base"):
        (tmp_path / name).mkdir()
    for name in NAMES:
        make_wheel(tmp_path / "team", name, "1.0")
        shutil.copy2(tmp_path / "team" / filename(name), tmp_path / "base" / filename(name))
    path = tmp_path / "pyindex.yml"
    base, team = "base: {packages: base}", "team: {packages: team, bases: [base]}"
    once = [sys.executable, "-m", "appliance", "watch", "-c", str(path)]
    given = write(path, base if event == "new index" else f"{team}, {base}")
    if event != "first start":
        with running([*once, "--once"], tmp_path / "once.log", lambda: True):
            eventually((given.www / "simple/index.html").exists)
    if event == "lost state":
        shutil.rmtree(given.state)
    if event == "lost catalog":
        for each in given.state.glob("catalog*"):
            each.unlink()
    given = write(path, f"{team}, {base}")
    with (
        application(path, given.server.port),
        serving(tmp_path / "nginx", render.nginx(given, HOST)),
    ):
        servers = [Server(nginx_port(given)), Server(given.server.port)]
        if event in ("first start", "lost state"):
            assert [ask_all(server, NAMES[:3]) for server in servers] == [False, False]
        if event == "new index":  # nginx does not check bases: a publisher must run first
            assert not any(ask_all(servers[1], [name]) for name in NAMES[:3])
        note = given.www / "simple/.view"
        is_old = note.exists() and note.read_text()
        with running(once, tmp_path / "watch.log", lambda: True):
            if event == "new index":
                eventually(lambda: not note.exists() or note.read_text() != is_old)
            eventually(lambda: all(ask_all(server, NAMES[::30]) for server in servers))
            for server in servers:
                assert ask_all(server, NAMES)
                assert server.ask("/simple/nothing/").status == 404
                assert server.ask("/packages/nothing").status == 404
