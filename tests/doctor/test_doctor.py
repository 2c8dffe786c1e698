"""`pyindex doctor` with real clients and real indexes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.dist import make_wheel
from tests.serving import PYINDEX, Serving, serving

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("index")) as server:
        make_wheel(server.packages, "foo", "1.0")
        eventually(lambda: server.get("/simple/foo/"))
        yield server


def examined(server: Serving, home: Path, **variables: str) -> tuple[int, list[dict[str, str]]]:
    """Run the command as a user who has no settings but ``variables``."""
    kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home)}
    ended = subprocess.run(
        [PYINDEX, "doctor", f"http://127.0.0.1:{server.port}", "--json"],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return ended.returncode, json.loads(ended.stdout)


def settings(server: Serving) -> dict[str, str]:
    url = f"http://127.0.0.1:{server.port}/simple/"
    return {"PIP_INDEX_URL": url, "UV_DEFAULT_INDEX": url, "PIP_CONFIG_FILE": os.devnull}


def test_clients_that_ask_the_index_alone_pass(index: Serving, tmp_path: Path) -> None:
    """pip and uv install a wheel, and the proxy between has seen no other host."""
    code, findings = examined(index, tmp_path, **settings(index))
    proof = f"installed foo==1.0 from 127.0.0.1:{index.port}, and asked no other host"
    assert [each["text"] for each in findings[-2:]] == [proof, proof]
    assert (code, {each["level"] for each in findings}) == (0, {"ok"})


def test_other_host_is_named(index: Serving, tmp_path: Path) -> None:
    """A host that a client asks besides the index is named, and nothing reaches it."""
    asked: dict[str, str] = {"PIP_EXTRA_INDEX_URL": "https://other.example:81/simple/"}
    asked["UV_INDEX"] = "https://third.example/simple/"
    code, findings = examined(index, tmp_path, **settings(index), **asked)
    assert code == 1
    assert [each["text"] for each in findings[-2:]] == [
        "also asks other.example:81; remove them from its settings",
        "also asks third.example:443; remove them from its settings",
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://index.example/simple?token=secret", "http://index.example/simple?..."),
        ("http://me:secret@index.example/#secret", "http://index.example/#..."),
    ],
)
def test_url_of_an_index_has_no_query(tmp_path: Path, url: str, shown: str) -> None:
    """A URL with a query or fragment is refused, and not shown with it."""
    ended = subprocess.run(
        [PYINDEX, "doctor"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_INDEX_URL": url},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    sentence = f"expected the URL of an index without query and fragment, got {shown!r}"
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"pyindex: {sentence}; correct it\n"
