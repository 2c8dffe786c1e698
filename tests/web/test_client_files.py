"""Client settings below ``/-/``: pip.conf, uv.toml, environment.yml and the CA certificate."""

import configparser
import re
import tomllib
from html import unescape
from pathlib import Path

import pytest
import yaml
from falcon.testing import TestClient

from appliance import render, spec
from appliance.operations.update import update
from appliance.web.app import create_app
from tests.conftest import Lab


@pytest.mark.parametrize("name", render.CLIENT)
def test_client_file_is_plain_text(lab: Lab, name: str) -> None:
    """A client file is plain text that caches must revalidate."""
    answer = TestClient(create_app(lab.spec)).simulate_get(f"/-/{name}")
    assert "from the spec" not in answer.text  # there is none
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_client_file_uses_host_header(lab: Lab) -> None:
    """Without ``url`` in the spec a client file has the address from the Host header, escaped."""
    client = TestClient(create_app(lab.spec))
    text = client.simulate_get("/-/pip.conf", host="index.lan", port=8080).text
    pip = configparser.RawConfigParser()
    pip.read_string(text)
    assert {**pip["global"]} == {
        "index-url": "http://index.lan:8080/simple/",
        "trusted-host": "index.lan",
    }
    for host in ('a"b', "a\\b", "a b", "x:1", "[::1]:80"):
        headers = {"Host": host}
        for name, parse in (("uv.toml", tomllib.loads), ("environment.yml", yaml.safe_load)):
            answer = client.simulate_get(f"/-/{name}", headers=headers)
            assert answer.status_code == 200
            parse(answer.text)


def test_client_file_uses_url_from_spec(tmp_path: Path) -> None:
    """A client file has only the URL from the spec, and a private CA is served unchanged."""
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: https://pypi.lab.example/x\nstate: s\nindexes: {main: {packages: p}}\n"
        "nginx: {tls: {certificate: c.pem, key: k.pem, ca: ca.pem}}\n"
    )
    (tmp_path / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\r\n")
    given = spec.load(path)
    client = TestClient(create_app(given))
    for name in render.CLIENT:
        text = client.simulate_get(f"/-/{name}", host="evil.example").text
        assert "https://pypi.lab.example/x/simple/" in text
        assert "evil" not in text
        assert text == render.client(given, name, str(given.url))
    answer = client.simulate_get("/-/ca.pem")
    assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    assert answer.content == (tmp_path / "ca.pem").read_bytes()
    (tmp_path / "ca.pem").unlink()
    assert client.simulate_get("/-/ca.pem").status_code == 503


def test_each_index_has_its_client_files(tmp_path: Path) -> None:
    """The client files of an index have its URL and a name that no other index has."""
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: http://pypi.lab/x\nstate: s\n"
        "indexes: {main: {packages: p}, dev: {packages: d, bases: [main]}}\n"
    )
    given = spec.load(path)
    client = TestClient(create_app(given))
    pip = configparser.RawConfigParser()
    pip.read_string(client.simulate_get("/dev/-/pip.conf").text)
    assert pip["global"]["index-url"] == "http://pypi.lab/x/dev/simple/"
    [index] = tomllib.loads(client.simulate_get("/dev/-/uv.toml").text)["index"]
    assert index == {
        "name": "pyindex-dev",
        "url": "http://pypi.lab/x/dev/simple/",
        "default": True,
    }
    for name in render.CLIENT:
        assert "main" not in client.simulate_get(f"/dev/-/{name}").text
    [first] = tomllib.loads(client.simulate_get("/main/-/uv.toml").text)["index"]
    assert first["url"] == "http://pypi.lab/x/main/simple/"


@pytest.mark.parametrize("prefix", ["", "/dev"])
def test_home_page_shows_client_files(tmp_path: Path, prefix: str) -> None:
    """The home page of an index shows the settings of its client files without their comments."""
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: http://pypi.lab/x\nstate: s\n"
        "indexes: {main: {packages: p}, dev: {packages: d, bases: [main]}}\n"
    )
    given = spec.load(path)
    for index in given.indexes.values():
        index.packages.mkdir()
    update(given)
    client = TestClient(create_app(given))
    blocks = re.findall("<pre>(.*?)</pre>", client.simulate_get(f"{prefix}/").text, re.DOTALL)
    shown = "".join(f"{unescape(block)}\n\n" for block in blocks)
    for name in ("pip.conf", "uv.toml", "environment.yml"):
        lines = client.simulate_get(f"{prefix}/-/{name}").text.splitlines()
        settings = [line for line in lines if line and not line.lstrip().startswith("#")]
        assert "".join(f"{line}\n" for line in settings) in shown
    [index] = tomllib.loads(client.simulate_get(f"{prefix}/-/uv.toml").text)["index"]
    assert f"poetry source add --priority=primary {index['name']} {index['url']}\n" in shown


@pytest.mark.parametrize("name", ["ca.pem", "nothing", "pip.conf.j2", "..", "%2e%2e%2fpip.conf"])
def test_unknown_client_file_is_not_found(lab: Lab, name: str) -> None:
    """An unknown client file answers 404 with the known names."""
    answer = TestClient(create_app(lab.spec)).simulate_get(f"/-/{name}")
    assert "from the spec" not in answer.text  # there is none
    assert answer.status_code == 404
    assert name == "%2e%2e%2fpip.conf" or "pip.conf, uv.toml" in answer.text
