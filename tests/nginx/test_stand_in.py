"""nginx answers for another index under its host names: pages, and files by digest."""

import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import render
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.spec import Spec
from appliance.web.negotiate import JSON
from benchmarks.ports import free_port
from tests.conftest import scanned
from tests.dist import make_wheel
from tests.nginx.certificates import certificate, privileged
from tests.nginx.servers import PATIENCE, Answer, Server, application, serving
from tests.nginx.sites import SECURITY, load

pytestmark = privileged
INDEX, FILES = "index.example", "files.example"
# Characters that mean something to nginx, in regular expressions and in URLs.
ODD = "sub dir/100%41 a?b#c&.accepted$uri"
CONNECTION = {"connection", "date", "server"}


class _Named(http.client.HTTPSConnection):
    """Connection to an address that asks for a host name, in TLS too."""

    def __init__(self, host: str, address: str, trusted: ssl.SSLContext) -> None:
        super().__init__(host, timeout=PATIENCE, context=trusted)
        self._address, self._trusted = address, trusted

    def connect(self) -> None:
        plain = socket.create_connection((self._address, 443), timeout=PATIENCE)
        self.sock = self._trusted.wrap_socket(plain, server_hostname=self.host)


@dataclass(frozen=True)
class Site:
    """Site with its address, its CA and the port of its application."""

    spec: Spec
    address: str
    ca: str
    port: int

    def ask(
        self, host: str, path: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        trusted = ssl.create_default_context(cafile=self.ca)
        with closing(_Named(host, self.address, trusted)) as connection:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            body = response.read()
        sent = {name.lower(): value for name, value in response.getheaders()}
        known = {name: value for name, value in sent.items() if name not in CONNECTION}
        return Answer(response.status, known, body, response.headers["Server"])

    def sender(self, host: str, path: str) -> str:
        """Return which server made the answer: headers of the application are lower case."""
        trusted = ssl.create_default_context(cafile=self.ca)
        with closing(_Named(host, self.address, trusted)) as connection:
            connection.request("GET", path)
            names = {name for name, _ in connection.getresponse().getheaders()}
        return "nginx" if "ETag" in names else "application"

    def package(self, index: str, name: str) -> Path:
        [path] = self.spec.indexes[index].packages.rglob(f"{name}-*.whl")
        return path

    def by_digest(self, index: str, name: str) -> str:
        """Return the URL path of a file in the other index."""
        return url_path(self.package(index, name))


def url_path(package: Path) -> str:
    digest = hashlib.blake2b(package.read_bytes(), digest_size=32).hexdigest()
    return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{package.name}"


@pytest.fixture(scope="module", params=["", "/py"], ids=["plain", "prefix"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Index ``main`` with the base ``base``, and ``other``, behind nginx with TLS."""
    directory = tmp_path_factory.mktemp("stand-in")
    number = os.getpid() + (1 if request.param else 0)
    address = f"127.{64 + (number >> 16 & 63)}.{number >> 8 & 0xFF}.{number & 0xFF}"
    tls = certificate(directory, f"IP:{address},DNS:{INDEX},DNS:{FILES}")
    indexes = {
        "main": {"packages": "main", "bases": ["base"]},
        "base": {"packages": "base"},
        "other": {"packages": "other"},
    }
    settings: dict[str, object] = {
        "url": f"https://{address}{request.param}",
        "indexes": indexes,
        "nginx": {"stand_in": [INDEX, FILES]},
    }
    given = load(directory, settings, tls, "debian-12")
    publish(given)
    path, port = directory / "app.sock", free_port()
    text = render.nginx(given, address).replace(render.SOCKET, str(path))
    with (
        application(directory / "pyindex.yml", port, f"unix:{path}"),
        serving(directory / "nginx", text, "disable_symlinks on; open_file_cache max=9;"),
    ):
        yield Site(given, address, tls["ca"], port)


def publish(given: Spec) -> None:
    main, base, other = (index.packages for index in given.indexes.values())
    for directory in (main / ODD, base, other):
        directory.mkdir(parents=True)
    make_wheel(main / ODD, "foo-bar", "1.0")
    (main / ODD / "foo_bar-1.0-py2.py3-none-any.whl.asc").write_text(
        "-----BEGIN PGP SIGNATURE-----"
    )
    make_wheel(main, "yanked", "1.0")
    make_wheel(main, "quarantined", "1.0")
    make_wheel(base, "below", "1.0+local")
    make_wheel(main, "twice", "1.0")
    make_wheel(base, "twice", "1.0")
    make_wheel(other, "elsewhere", "1.0")
    update(given)
    scanned(given)
    decisions.yank(given, "main", "yanked-1.0-py2.py3-none-any.whl", "broken")
    decisions.set_status(given, "main", "quarantined", "quarantined", None)
    outside = given.state.parent / "outside"
    outside.write_text("secret")
    link = make_wheel(main, "linked", "1.0")
    update(given)
    link.unlink()
    link.symlink_to(outside)


@pytest.mark.parametrize("host", [INDEX, FILES])
@pytest.mark.parametrize(
    ("index", "name"),
    [("main", "foo_bar"), ("main", "yanked"), ("base", "below"), ("main", "twice")],
)
def test_nginx_sends_files_by_digest(site: Site, host: str, index: str, name: str) -> None:
    """nginx alone sends package files, metadata and ranges by digest, as at their paths."""
    package, path = site.package(index, name), site.by_digest(index, name)
    answer = site.ask(host, path)
    assert (answer.status, answer.body) == (200, package.read_bytes())
    assert answer.headers["cache-control"] == "max-age=365000000, immutable, public"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert SECURITY.items() <= answer.headers.items()
    assert site.sender(host, path) == site.sender(host, f"{path}.metadata") == "nginx"
    metadata = site.ask(host, f"{path}.metadata").body
    assert metadata.startswith(b"Metadata-Version: ")
    assert site.ask(host, path, {"Range": "bytes=5-9"}).body == answer.body[5:10]
    assert site.ask(host, path, {"If-None-Match": answer.headers["etag"]}).status == 304
    assert site.ask(host, path, method="HEAD").headers == answer.headers


def test_application_sends_files_by_digest(site: Site) -> None:
    """The application without nginx sends the same files by digest under any host name."""
    server = Server(site.port)
    for index, name in (("main", "foo_bar"), ("base", "below")):
        for suffix in ("", ".metadata"):
            path = f"{site.by_digest(index, name)}{suffix}"
            answer, same = server.ask(path), site.ask(FILES, path)
            assert (answer.status, answer.body) == (200, same.body)
            assert answer.headers["etag"] == same.headers["etag"]
    signature = f"{site.by_digest('main', 'foo_bar')}.asc"
    assert server.ask(signature).body == site.ask(FILES, signature).body
    assert server.ask(signature).body.startswith(b"-----BEGIN PGP")


def test_pages_name_files_of_other_index(site: Site) -> None:
    """nginx sends pages whose URLs are those of the other index, and lists all projects."""
    for name, index in (("foo-bar", "main"), ("below", "base")):
        page = site.ask(INDEX, f"/simple/{name}/", {"Accept": JSON})
        [file] = json.loads(page.body)["files"]
        path = site.by_digest(index, name.replace("-", "_")).replace("+", "%2B")
        assert file["url"] == f"https://{FILES}{path}"
        html = site.ask(INDEX, f"/simple/{name}/", {"Accept": "text/html"})
        assert f'href="{file["url"]}#sha256='.encode() in html.body
        zipped = site.ask(INDEX, f"/simple/{name}/", {"Accept-Encoding": "gzip"})
        assert zipped.headers["content-encoding"] == "gzip"
        assert site.sender(INDEX, f"/simple/{name}/") == "nginx"
    listed = json.loads(site.ask(INDEX, "/simple/", {"Accept": JSON}).body)["projects"]
    names = {project["name"] for project in listed}
    assert names >= {"foo-bar", "below", "twice"} and "elsewhere" not in names


def test_pages_at_own_host_are_unchanged(site: Site) -> None:
    """The appliance's own host name has pages with its own URLs, and the files at their paths."""
    own = f"{site.spec.path}/simple/twice/"
    for server in (site.address, "unknown.example"):
        answer = Server(443, address=site.address, ca=site.ca, host=server).ask(own)
        assert b'href="../../packages/twice-1.0' in answer.body
    weighed = {"Accept": f"{JSON};q=0.9, text/html;q=0.1"}
    answer = site.ask(INDEX, "/simple/twice/", weighed)
    [file] = json.loads(answer.body)["files"]  # from the application
    assert file["url"] == f"https://{FILES}{site.by_digest('main', 'twice')}"


REDIRECTS = [
    ("/simple", "/simple/"),
    ("/simple/Foo_Bar/", "/simple/foo-bar/"),
    ("/simple/foo-bar", "/simple/foo-bar/"),
    ("/pypi/Foo_Bar/json", "/pypi/foo-bar/json"),
]


@pytest.mark.parametrize(("path", "target"), REDIRECTS)
def test_names_are_normalized_at_other_host(site: Site, path: str, target: str) -> None:
    """Redirects at the other host stay there, whatever the prefix of the appliance's url."""
    answer = site.ask(INDEX, path)
    assert (answer.status, answer.headers["location"]) == (301, target)
    assert site.ask(INDEX, target).status == 200


ZEROS = "00/00/" + "0" * 60
# {foo}, {other} and so on are the paths of files by digest.
ATTACKS: list[tuple[str, str]] = [
    ("unknown digest", f"/packages/{ZEROS}/foo_bar-1.0-py2.py3-none-any.whl"),
    ("digest of another file", "{foo_digest}/below-1.0+local-py2.py3-none-any.whl"),
    ("digest of a file of the base with a name of the index", "{below_digest}/{foo_name}"),
    ("directory of the digest", "{foo_digest}"),
    ("directory of the digest with a slash", "{foo_digest}/"),
    ("index outside of the lineage", "{elsewhere}"),
    ("index outside of the lineage by path", "/other/packages/elsewhere-1.0-py2.py3-none-any.whl"),
    ("pages of an index outside of the lineage", "/other/simple/elsewhere/"),
    ("quarantined project", "{quarantined}"),
    ("metadata of a quarantined project", "{quarantined}.metadata"),
    ("package file that became a link", "{linked}"),
    ("capital digits", "{foo_upper}"),
    ("short digest", "/packages/00/00/00/foo_bar-1.0-py2.py3-none-any.whl"),
    ("metadata of metadata", "{foo}.metadata.metadata"),
    ("signature of metadata", "{foo}.metadata.asc"),
    ("hash of nothing", "/packages/"),
    ("traversal with dots", "{foo_digest}/../../../../../.accepted/main/packages/x"),
    ("traversal with encoded slashes", "{foo_digest}/..%2f..%2f..%2f..%2f..%2f.layout"),
    ("traversal with encoded dots", "{foo_digest}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/.layout"),
    ("name with NUL", "{foo}%00.metadata"),
    ("name with a newline", "{foo}%0a"),
    ("name with a slash at its end", "{foo}/"),
    ("name with a backslash", "{foo_digest}/..%5c..%5c.layout"),
    ("links", "/.digests/main/{foo_hash}"),
    ("markers", "/.accepted/main/packages/"),
    ("markers by name", "/main/packages/.accepted/"),
    ("the other form of a page", "/simple/foo-bar/stand-in.html"),
    ("the own form of a page", "/simple/foo-bar/index.html"),
    ("health", "/health"),
    ("metrics", "/metrics"),
    ("home page", "/"),
    ("client settings", "/-/pip.conf"),
    ("uploads", "/legacy/"),
]


@pytest.mark.parametrize("path", [path for _, path in ATTACKS], ids=[name for name, _ in ATTACKS])
def test_nothing_else_is_served(site: Site, path: str) -> None:
    """Neither server sends anything else under the names of the other index."""
    foo = site.by_digest("main", "foo_bar")
    directory = foo.rpartition("/")[0]
    known = {
        "foo": foo,
        "foo_name": foo.rpartition("/")[2],
        "foo_digest": directory,
        "foo_hash": foo.removeprefix("/packages/"),
        "foo_upper": f"/packages/{directory[10:].upper()}/{foo.rpartition('/')[2]}",
        "below_digest": site.by_digest("base", "below").rpartition("/")[0],
        "elsewhere": site.by_digest("other", "elsewhere"),
        "quarantined": site.by_digest("main", "quarantined"),
        "linked": linked_path(site),
    }
    for host in (INDEX, FILES):
        answer = site.ask(host, path.format(**known))
        assert answer.status in (400, 404), answer
        assert b"secret" not in answer.body
    if path.startswith(("{", "/packages/0")):
        assert Server(site.port, host=FILES).ask(path.format(**known)).status in (400, 404)


def linked_path(site: Site) -> str:
    """Return the path by digest of the file that a link has replaced."""
    links = (site.spec.www / ".digests/main").rglob("linked-*.whl")
    return next(f"/packages/{path.relative_to(site.spec.www / '.digests/main')}" for path in links)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_index_is_read_only(site: Site, method: str) -> None:
    """Nothing can be sent to the other index."""
    for path in ("/simple/foo-bar/", "/simple/", site.by_digest("main", "foo_bar"), "/legacy/"):
        assert site.ask(INDEX, path, {"Content-Length": "0"}, method).status in (404, 405)


def test_withdrawn_file_is_gone(site: Site) -> None:
    """A file that is removed and published again is unknown in between, also by its digest."""
    package = make_wheel(site.spec.indexes["main"].packages, "brief", "1.0")
    path, content = url_path(package), package.read_bytes()
    update(site.spec)
    assert site.ask(FILES, path).body == content
    package.unlink()
    update(site.spec)
    assert site.ask(FILES, path).status == 404


def test_certificate_is_for_all_names(site: Site) -> None:
    """openssl verifies the certificate for each host name of the other index."""
    for host in (INDEX, FILES):
        command = ["openssl", "s_client", "-connect", f"{site.address}:443", "-servername", host]
        command += ["-verify_hostname", host, "-CAfile", site.ca, "-verify_return_error"]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=PATIENCE)
        assert "Verification: OK" in done.stdout, done.stdout + done.stderr


def test_nginx_logs_no_failed_links(site: Site) -> None:
    """Requests for unknown digests leave nothing in nginx's error log."""
    log = site.spec.state.parent / "nginx/errors"
    assert site.ask(FILES, f"/packages/{ZEROS}/x.whl").status == 404
    assert "realpath" not in log.read_text()


def test_plain_http_at_https_port_keeps_host(site: Site) -> None:
    """Plain HTTP at the port of HTTPS is redirected to the host that the client named."""
    answer = Server(443, address=site.address, host=INDEX).ask("/simple/?x")
    assert (answer.status, answer.headers["location"]) == (301, f"https://{INDEX}/simple/?x")
