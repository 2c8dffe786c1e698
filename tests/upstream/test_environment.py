"""Upstreams as the environment of uv."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from appliance.upstream import Credential, Upstreams, uv_environment
from tests.dist import make_wheel
from tests.upstream.faulty import Behavior, Exchange, Faulty, page, status, whole

UV = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "--no-config", "--no-cache"]


def protected(behavior: Behavior) -> Behavior:
    """Answer 401 without any login."""

    def behave(exchange: Exchange) -> None:
        is_known = "authorization" in exchange.headers
        (behavior if is_known else status(401, WWW_Authenticate="Basic"))(exchange)

    return behave


@pytest.mark.integration
def test_client_uses_upstreams_of_environment(faulty: Faulty, tmp_path: Path) -> None:
    """uv logs in to the upstream index, and finds the project there."""
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
    command, environment = [*UV, str(requirements)], uv_environment(upstreams)
    process = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert "foo==1.0" in process.stdout, process
    assert "p@ss" not in " ".join(command)
