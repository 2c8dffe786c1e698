"""Upstreams as the environment of real clients."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from appliance.upstream import Credential, Upstreams, pip_environment, uv_environment
from tests.dist import make_wheel
from tests.upstream.faulty import Behavior, Exchange, Faulty, page, status, whole

UV = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "--no-config", "--no-cache"]
PIP = [sys.executable, "-m", "pip", "--no-cache-dir", "install", "--dry-run", "--ignore-installed"]


def protected(behavior: Behavior) -> Behavior:
    """Answer 401 without any login."""

    def behave(exchange: Exchange) -> None:
        is_known = "authorization" in exchange.headers
        (behavior if is_known else status(401, WWW_Authenticate="Basic"))(exchange)

    return behave


@pytest.mark.integration
@pytest.mark.parametrize("client", ["uv", "pip"])
def test_client_uses_upstreams_of_environment(faulty: Faulty, tmp_path: Path, client: str) -> None:
    """uv and pip log in to the upstream index, and find the project there."""
    wheel = make_wheel(tmp_path, "foo", "1.0")
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read("foo-1.0.dist-info/METADATA")
    faulty.behaviors |= {
        "/simple/foo/": protected(page(f'<a href="/{wheel.name}" data-core-metadata="true">')),
        f"/{wheel.name}.metadata": protected(whole(metadata)),
        f"/{wheel.name}": protected(whole(wheel.read_bytes())),
    }
    index = f"{faulty.url}/simple/"
    upstreams = Upstreams((index,), credentials=(Credential(index, "bob", "p@ss/word"),))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("foo\n")
    command, environment = {
        "uv": ([*UV, str(requirements)], uv_environment(upstreams)),
        "pip": ([*PIP, "-r", str(requirements)], pip_environment(upstreams)),
    }[client]
    process = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert {"uv": "foo==1.0", "pip": "Would install foo-1.0"}[client] in process.stdout, process
    assert "p@ss" not in " ".join(command)
