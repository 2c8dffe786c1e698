"""Files of deploy/container agree with each other; tests/hosts/test_container.py runs them."""

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from appliance import spec

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()


@pytest.mark.parametrize("url", [None, "", "https://pypi.lab.example/python"])
def test_spec_of_image_takes_url_from_environment(
    url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec of the image is valid with and without a URL."""
    if url is None:
        monkeypatch.delenv("PYINDEX_URL", raising=False)
    else:
        monkeypatch.setenv("PYINDEX_URL", url)
    assert spec.load(FOLDER / "pyindex.yml").url == (url or None)


def test_files_name_the_same_port_and_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Image, health check, compose file and spec have one port and the same directories."""
    monkeypatch.delenv("PYINDEX_URL", raising=False)
    image = spec.load(FOLDER / "pyindex.yml")
    service = yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]["pyindex"]
    port, packages = image.server.port, image.indexes["main"].packages
    assert f"EXPOSE {port}\n" in CONTAINERFILE
    assert f"http://127.0.0.1:{port}/health" in CONTAINERFILE
    assert f" {packages} {image.state}\n" in CONTAINERFILE
    assert service["ports"] == [f"{port}:{port}"]
    targets = [re.findall(r":(/[^:]*)", volume) for volume in service["volumes"]]
    assert targets == [[str(packages)], [str(image.state)]]


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()


def test_health_check_asks_no_proxy() -> None:
    """The health check asks the index itself, also where docker gives containers a proxy."""
    (argv,) = re.findall(r"^    CMD (\[.*\])$", CONTAINERFILE, re.M)
    _, option, script = json.loads(argv)
    with HTTPServer(("127.0.0.1", 0), _Healthy) as server:
        Thread(target=server.handle_request, daemon=True).start()
        program = script.replace(":8080/", f":{server.server_port}/")
        environment = os.environ | {"http_proxy": "http://127.0.0.1:9"}
        subprocess.run([sys.executable, option, program], env=environment, check=True, timeout=60)


def test_image_copies_all_that_is_installed() -> None:
    """The image has each directory that the package is made of."""
    copied = set(re.findall(r"^COPY (\w+) /source/", CONTAINERFILE, re.M))
    directories = re.findall(
        r"^    appliance\.\w+ = (\w+)$", (ROOT / "setup.cfg").read_text(), re.M
    )
    assert copied == {"appliance", *directories}
