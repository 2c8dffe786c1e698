"""The nginx site as text: valid configuration for any spec."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import jinja2
import pytest

from appliance import headers, render, spec
from appliance.render import templates
from appliance.render.clients import ClientValues
from appliance.render.host import HostValues
from appliance.render.layout import LayoutValues
from appliance.render.site import SiteValues
from appliance.spec import Spec
from appliance.web.connection import STREAM_SECONDS
from benchmarks.ports import HOST, free_port
from tests.nginx import versions
from tests.nginx.certificates import certificate, needs_openssl, privileged
from tests.nginx.servers import configuration
from tests.nginx.sites import load
from tests.render import specs


@pytest.fixture(scope="module")
def pair_of_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificate(tmp_path_factory.mktemp("tls"), "DNS:pypi.lab.example")


TLS, PLAIN = True, False
LONG = ".".join(["a-long-name-of-a-department"] * 4)
SITES: list[tuple[bool, dict[str, object]]] = [
    (PLAIN, {"url": "http://pypi.lab.example"}),
    (PLAIN, {"url": "http://pypi.lab.example:8088/team/v1.2"}),
    (PLAIN, {"url": "http://[::1]:8088", "nginx": {"internal": ["::/0", "10.0.0.0/8"]}}),
    (PLAIN, {"url": "https://tls.ends.before.us/x"}),
    (PLAIN, {"url": "http://pypi", "nginx": {"internal": [], "max_upload": "8589934591g"}}),
    (PLAIN, {"server": {"bind": "port", "host": "::", "port": 1}, "url": f"http://{LONG}"}),
    (TLS, {"url": "https://pypi.lab.example"}),
    (TLS, {"url": "https://pypi.lab.example:8443/~team/py.pi"}),
    (TLS, {"url": "https://[::1]/x", "nginx": {"names": ["pypi", "PyPI", LONG, f"x.{LONG}"]}}),
    (TLS, {"url": "https://pypi", "nginx": {"max_upload": 1}, "server": {"bind": "port"}}),
]


@pytest.mark.integration
@privileged
@pytest.mark.parametrize("version", ["installed", "1.18"])
@pytest.mark.parametrize("system", [None, "debian-12", "centos-7"])
@pytest.mark.parametrize(("tls", "more"), SITES)
def test_nginx_accepts_site(
    tmp_path: Path,
    pair_of_keys: dict[str, str],
    tls: bool,
    more: dict[str, object],
    system: str | None,
    version: str,
) -> None:
    """nginx accepts the rendered site without warnings, together with another one."""
    state = tmp_path / 'a "b" {c}; \\d #e'
    given = load(tmp_path, {**more, "state": str(state)}, pair_of_keys if tls else None, system)
    other = Spec(name="other", url="http://other", state=tmp_path / "s", indexes=given.indexes)
    logs = tmp_path / "logs"
    logs.mkdir()
    site = render.nginx(given).replace(render.LOGS, str(logs)) + render.nginx(other)
    command = configuration(tmp_path / "nginx", site)
    assert versions.judge(version, command) == (0, "")


# Start a process that cannot open IPv6 sockets, as on a kernel without IPv6: the system call socket
# (41) of the family AF_INET6 (10) fails with EAFNOSUPPORT (97).
WITHOUT_IPV6 = """\
import ctypes, os, struct, sys
load, equal, answer = 32, 21, 6
steps = [(load, 0, 0, 0), (equal, 0, 3, 41), (load, 0, 0, 16), (equal, 0, 1, 10)]
steps += [(answer, 0, 0, 0x50061), (answer, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs the system calls of x86_64")
def test_nginx_starts_without_ipv6(tmp_path: Path) -> None:
    """nginx on a host without IPv6 accepts the site made for it and rejects the default."""
    (tmp_path / "logs").mkdir()
    port = free_port()
    given = load(tmp_path, {"url": f"http://pypi:{port}"}, None, "debian-12")
    for made, message in (
        (given, "Address family not supported"),
        (render.without_ipv6(given), ""),
    ):
        site = render.nginx(made).replace(render.LOGS, str(tmp_path / "logs"))
        command = configuration(tmp_path / f"nginx-{message[:1]}", site)
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_IPV6, *command, "-t", "-q"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert message in done.stderr
        assert (done.returncode == 0) is (message == "")


ADDRESSES = [
    "{}",
    "name: 9-lives\nurl: http://pypi.lab.example:8081/pypi/~team/v1.2",
    f"name: {'long-' * 12}xyz\nurl: https://pypi.lab.example/x",
    "name: request\nurl: http://[::1]:8081/x\nserver: {host: '::', port: 1}",
    "server: {host: 0.0.0.0, port: 65535}\nnginx: {max_upload: 5g}",
]


@pytest.mark.parametrize("text", ADDRESSES)
def test_nginx_accepts_site_twice(tmp_path: Path, text: str) -> None:
    """nginx accepts any name, url and path of a spec, together with another site."""
    state = tmp_path / 'a "b" {c}; \\d #e'
    path = tmp_path / "pyindex.yml"
    lines = "" if text == "{}" else f"{text}\n"
    path.write_text(
        f"{lines}state: {str(state)!r}\nindexes: {{main: {{packages: p}}, 1-x: {{packages: q}}}}\n"
    )
    site = render.nginx(spec.load(path), HOST)
    indexes = spec.load(path).indexes
    other = Spec(name="other", url="http://other", state=tmp_path / "s", indexes=indexes)
    command = configuration(tmp_path / "nginx", site + render.nginx(other, HOST))
    assert versions.judge("installed", command) == (0, "")


@needs_openssl
def test_nginx_accepts_tls_site(tmp_path: Path) -> None:
    """nginx accepts a site with the spec's certificate and listens on port 443 by default."""
    certificate(tmp_path, "DNS:pypi.lab.example")
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: https://pypi.lab.example\nstate: s\nindexes: {main: {packages: p}}\n"
        "nginx: {tls: {certificate: rsa.pem, key: rsa.key}}\n"
    )
    site = render.nginx(spec.load(path), HOST)
    assert f"listen {HOST}:443 ssl;" in site
    command = configuration(tmp_path / "nginx", site)
    assert versions.judge("installed", command) == (0, "")


def levels(site: str) -> Iterator[list[str]]:
    """Yield the directives of each block of a site, without those of inner blocks."""
    around: list[list[str]] = [[]]
    for line in (line.strip() for line in site.splitlines()):
        if line.endswith("{"):
            around.append([])
        elif line == "}":
            yield around.pop()
        else:
            around[-1].append(line)


@pytest.mark.parametrize("name", specs.SPECS)
def test_blocks_with_headers_have_security_headers(tmp_path: Path, name: str) -> None:
    """Each block with an add_header, which hides outer ones, repeats the security headers."""
    given = specs.load(name, tmp_path)
    expected = {f'add_header {header} "{value}" always;' for header, value in headers.SECURITY}
    hsts = {'add_header Strict-Transport-Security "max-age=31536000" always;'}
    blocks = 0
    for level in levels(render.nginx(given)):
        if not any(line.startswith("add_header ") for line in level):
            continue
        encrypted = given.nginx.tls and not any(line.startswith("return 301 ") for line in level)
        assert set(level) & (expected | hsts) == expected | (hsts if encrypted else set())
        blocks += 1
    assert blocks >= 7  # the server, pages and files at two paths each, client files, @too_often


def test_template_values_have_unique_names() -> None:
    """No two sources of template values have a name in common."""
    values = (LayoutValues, ClientValues, SiteValues, HostValues)
    names = [field.name for value in values for field in fields(value)]
    assert len(names) == len(set(names))


def test_included_template_can_be_overridden(tmp_path: Path) -> None:
    """A template that another includes can be overridden in ``host.templates``."""
    own = tmp_path / "templates" / "nginx"
    own.mkdir(parents=True)
    (own / "_tls.j2").write_text("    # {{ id }} is public\n")
    given = specs.load("debian-12-full", tmp_path)
    host = given.host.model_copy(update={"templates": own.parent})
    site = render.nginx(given.model_copy(update={"host": host}))
    assert "    # pyindex_lab is public\n" in site
    assert "ssl_protocols" not in site


def test_template_with_unknown_name_fails() -> None:
    """A template with an unknown name does not render."""
    with pytest.raises(jinja2.UndefinedError):
        templates.environment().from_string("{{ nothing }}").render()


def test_application_ends_uploads_before_nginx(tmp_path: Path) -> None:
    """nginx waits longer than the application for a client that pauses: it would reset the
    connection, and log nothing."""
    site = render.nginx(load(tmp_path, {"url": "http://pypi.lab.example"}, None, None), HOST)
    (minutes,) = set(re.findall(r"client_body_timeout (\d+)m;", site))
    assert 60 * int(minutes) > STREAM_SECONDS
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "uploads.md").read_text()
    assert f"| pause of a client | {STREAM_SECONDS:.0f} s |" in reference
