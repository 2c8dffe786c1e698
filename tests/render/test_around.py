"""Files around the site: client settings, logrotate, firewalld, SELinux."""

import configparser
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from appliance import render, spec
from appliance.render import escapes
from tests.conftest import eventually

PLAIN = "url: http://10.1.2.3:8088/team"
TLS = """\
url: https://pypi.lab.example
nginx: {tls: {certificate: c.pem, key: k.pem, ca: ca.pem}}"""
INDEXES = 'indexes: {main: {packages: "/srv/a b/x.y+z (1)"}, 1-x: {packages: /srv/other}}'


def rendered(directory: Path, text: str, system: str = "debian-12") -> dict[str, str]:
    """Return the content of a host's files by name."""
    path = directory / "pyindex.yml"
    state = "state: /var/lib/pyindex\nname: lab"
    path.write_text(f"{text}\n{state}\n{INDEXES}\nhost: {{system: {system}}}\n")
    files = render.files(spec.load(path))
    return {file.path.removeprefix("/etc/"): file.content for file in files}


def uncommented(text: str) -> str:
    """Return the text with the settings in its comments active."""
    return re.sub(r"^(\s*)#(?=[-\[a-z])", r"\1", text, flags=re.M)


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [(PLAIN, "http://10.1.2.3:8088/team", "10.1.2.3"), (TLS, "https://pypi.lab.example", None)],
)
def test_client_files_are_valid(tmp_path: Path, text: str, url: str, host: str | None) -> None:
    """Client files have the URL of the first index and trust the host only for plain HTTP."""
    files = rendered(tmp_path, text)
    pip = configparser.RawConfigParser()
    pip.read_string(files["pyindex/client/pip.conf"])
    trusted = {"trusted-host": host} if host else {}
    assert {**pip["global"]} == {"index-url": f"{url}/simple/", **trusted}
    index = {"name": "lab", "url": f"{url}/simple/", "default": True}
    assert tomllib.loads(files["pyindex/client/uv.toml"]) == {"index": [index]}
    source = {"name": "lab", "url": f"{url}/simple/", "priority": "primary"}
    poetry = tomllib.loads(files["pyindex/client/poetry.toml"])
    assert poetry == {"tool": {"poetry": {"source": [source]}}}
    options = [f"--index-url {url}/simple/", *([f"--trusted-host {host}"] if host else [])]
    conda = yaml.safe_load(files["pyindex/client/environment.yml"])
    assert conda == {"dependencies": ["pip", {"pip": options}]}


def test_client_files_show_other_indexes_in_comments(tmp_path: Path) -> None:
    """Client files have valid settings for the CA and other indexes in comments."""
    files = rendered(tmp_path, TLS)
    clients = {Path(path).name: text for path, text in files.items() if "/client/" in path}
    given = spec.load(tmp_path / "pyindex.yml")
    assert clients == {name: render.client(given, name, str(given.url)) for name in render.CLIENT}
    for text in clients.values():
        assert "https://pypi.lab.example/-/ca.pem" in text
    for text in rendered(tmp_path, PLAIN).values():
        assert "ca.pem" not in text
    other = "https://pypi.lab.example/1-x/simple/"
    pip = configparser.RawConfigParser(strict=False)
    pip.read_string(uncommented(clients["pip.conf"]))
    assert {**pip["global"]} == {"index-url": other, "cert": "/etc/ssl/pyindex-ca.pem"}
    indexes = tomllib.loads(uncommented(clients["uv.toml"]))["index"]
    assert [index["url"] for index in indexes][1:] == [other]
    poetry: Any = tomllib.loads(uncommented(clients["poetry.toml"]))
    assert [source["url"] for source in poetry["tool"]["poetry"]["source"]][1:] == [other]
    conda = yaml.safe_load(uncommented(clients["environment.yml"]))
    assert conda["dependencies"][1]["pip"][1:] == [f"--index-url {other}"]


LOGROTATE = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed here")
def test_logrotate_rotates_logs_of_nginx(tmp_path: Path) -> None:
    """logrotate rotates the two logs of nginx, not those of supervisor, and signals nginx."""
    signals = tmp_path / "signals"
    waiting = subprocess.Popen(
        [
            "sh",
            "-c",
            f"trap 'echo x >>{signals}' USR1; echo >{signals}; while :; do sleep 0.05; done",
        ]
    )
    try:
        eventually(signals.exists)
        (tmp_path / "nginx.pid").write_text(f"{waiting.pid}\n")
        text = rendered(tmp_path, TLS)["logrotate.d/pyindex"]
        text = text.replace(render.LOGS, str(tmp_path / "logs"))
        text = text.replace("/run/nginx.pid", str(tmp_path / "nginx.pid"))
        settings = tmp_path / "logrotate"
        settings.write_text(text.replace("create 0640 www-data root", "create 0640"))
        (tmp_path / "logs").mkdir(mode=0o755)
        names = ("access.log", "error.log", "pyindex-server.log")
        for times in (1, 2):
            for name in names:
                (tmp_path / "logs" / name).write_text(name)
            command = [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(settings)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr) == (0, "")
            eventually(lambda: signals.read_text().count("x") == times)  # noqa: B023
    finally:
        waiting.send_signal(signal.SIGKILL)
        waiting.wait()
    logs = {path.name for path in (tmp_path / "logs").iterdir()}
    assert logs == {*names, *(f"{name}{n}" for name in names[:2] for n in (".1", ".2.gz"))}
    assert gzip.decompress((tmp_path / "logs/access.log.2.gz").read_bytes()) == b"access.log"


@pytest.mark.parametrize(
    ("text", "ports"),
    [(PLAIN, ["8088"]), (TLS, ["443", "80"]), ("url: http://pypi", ["80"])],
)
def test_firewalld_service_has_ports(tmp_path: Path, text: str, ports: list[str]) -> None:
    """The firewalld service opens the port of the url and, with HTTPS, port 80."""
    service = ElementTree.fromstring(
        rendered(tmp_path, text, "centos-7")["firewalld/services/pyindex.xml"]
    )
    assert service.tag == "service"
    assert service.findtext("short") == "lab"
    assert [port.attrib for port in service.findall("port")] == [
        {"protocol": "tcp", "port": port} for port in ports
    ]


SELINUX = [
    (PLAIN, ["httpd_can_network_connect"], [[8088, "http_port_t"]]),
    (TLS, ["httpd_can_network_connect"], []),
    (f"{TLS}\nserver: {{bind: socket}}", [], []),
]


@pytest.mark.parametrize(("text", "booleans", "ports"), SELINUX)
def test_selinux_labels_paths_of_nginx(
    tmp_path: Path, text: str, booleans: list[str], ports: list[list[object]]
) -> None:
    """The SELinux settings label the paths that nginx uses and no others."""
    policy = json.loads(rendered(tmp_path, text, "centos-7")["pyindex/selinux.json"])
    assert (policy["booleans"], policy["ports"]) == (booleans, ports)
    assert not any(" " in pattern for pattern, _ in policy["contexts"])

    def label(path: str) -> str | None:
        labels = [kind for pattern, kind in policy["contexts"] if re.fullmatch(pattern, path)]
        return labels[-1] if labels else None

    for path, kind in (
        ("/var/lib/pyindex/www/simple/x/index.html", "httpd_sys_content_t"),
        ("/var/lib/pyindex/catalog.sqlite", None),
        ("/srv/a b/x.y+z (1)", "httpd_sys_content_t"),
        ("/srv/a b/x.y+z (1)/x.whl", "httpd_sys_content_t"),
        ("/srv/a b/x.y+z (1)x", None),
        ("/srv/a b/xxy+z (1)/x.whl", None),
        ("/srv/other/x.whl", "httpd_sys_content_t"),
        ("/var/run/pyindex/pyindex.sock", "httpd_var_run_t"),
        ("/var/log/pyindex/access.log", "httpd_log_t"),
        ("/etc/pyindex/client/pip.conf", "httpd_sys_content_t"),
        ("/etc/pyindex/pyindex.yml", None),
    ):
        assert label(path) == kind, path


@pytest.mark.parametrize("path", ["/plain", "/a b", "/a.b+c(d)[e]{f}|^$?*", "/back\\slash", "/ü"])
def test_selinux_pattern_matches_only_its_path(path: str) -> None:
    """The SELinux pattern of a path matches that path and no other."""
    assert re.fullmatch(escapes.selinux(path), path)
    assert not re.fullmatch(escapes.selinux(path), f"{path}x")
    assert " " not in escapes.selinux(path)
