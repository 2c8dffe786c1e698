"""nginx in front: what it sends itself is what the application would have sent."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import jinja2
import pytest
from hypothesis import HealthCheck, given, settings

from appliance import render, spec
from appliance.errors import SpecError
from appliance.index.watch import Watch
from appliance.render import escapes
from appliance.spec import Spec
from appliance.web.negotiate import HTML, JSON, OLD_HTML
from benchmarks.ports import HOST, free_port
from tests.conftest import eventually
from tests.dist import make_wheel, uploaded
from tests.web import accepts

MADE = "2020-02-03T04:05:06+00:00"
WHEEL = "/packages/sub%20dir/Foo_Bar-1.0+local-py2.py3-none-any.whl"
LARGE = "/packages/large-1.0-py2.py3-none-any.whl"
PAGE = "/simple/foo-bar/"
FUTURE = "Mon, 03 Feb 2098 04:05:06 GMT"
# What differs between any two answers, or between any two servers.
HOP_BY_HOP = {"date", "server", "connection", "keep-alive", "transfer-encoding"}

NGINX = """\
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/errors info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {surroundings}
    include {folder}/site;
}}
"""
# What an operator may have around our site, and must not change what it sends.
SURROUNDINGS = """
    gzip on; gzip_types *; gzip_vary on; gzip_static always; gzip_min_length 1;
    charset utf-8; charset_types *; default_type text/x-around;
    open_file_cache max=100; open_file_cache_valid 1h; etag on; sendfile on; tcp_nopush on;
    map $http_upgrade $connection_upgrade { default upgrade; "" close; }
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Server:
    """Something that answers on a port, below a prefix."""

    port: int
    prefix: str = ""

    def ask(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """Send just this path and these headers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            connection.putrequest(
                method, f"{self.prefix}{path}", skip_accept_encoding=True, skip_host=True
            )
            for name, value in {"Host": "evil.example", **(headers or {})}.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders()
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        found: dict[str, str] = {}
        for name, value in ((name.lower(), value) for name, value in response.getheaders()):
            if name not in HOP_BY_HOP:
                found[name] = f"{found[name]}, {value}" if name in found else value
        return Answer(response.status, found, body)


@dataclass(frozen=True)
class Pair:
    """An appliance by each of its two ways: through nginx, and the application alone."""

    spec: Spec
    nginx: Server
    application: Server

    def both(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """The answer, which is the same from both."""
        answer = self.nginx.ask(path, headers, method)
        assert answer == self.application.ask(path, headers, method)
        return answer


@contextmanager
def running(
    command: list[str], port: int, log: Path, host: str = HOST, **environment: str
) -> Iterator[int]:
    """Run ``command`` until the block ends; entered when something listens on ``port``."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | environment
        )
    try:
        deadline = time.monotonic() + 30
        while not _listens(host, port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def configuration(folder: Path, site: str, surroundings: str = "") -> list[str]:
    """Write a whole configuration around ``site``; the command that runs it."""
    folder.mkdir()
    (folder / "site").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""
    whole = NGINX.format(user=user, folder=folder, surroundings=surroundings)
    (folder / "nginx.conf").write_text(whole)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def make_spec(folder: Path, prefix: str = "") -> Path:
    """A spec with two indexes of a few files, published, and free ports for both servers."""
    for name in ("main/sub dir", "staging"):
        (folder / name).mkdir(parents=True)
    wheel = make_wheel(folder / "main/sub dir", "Foo_Bar", "1.0+local")
    signature = wheel.with_name(f"{wheel.name}.asc")
    signature.write_bytes(b"-----BEGIN PGP SIGNATURE-----")
    modules = {"large": "# " + "x" * 8_000_000}
    for path in (
        wheel,
        signature,
        make_wheel(folder / "main", "large", "1.0", modules=modules),
        make_wheel(folder / "staging", "only-here", "1.0"),
    ):
        uploaded(path, MADE)
    path = folder / "pyindex.yml"
    path.write_text(
        f"url: http://{HOST}:{free_port()}{prefix}\nstate: state\n"
        f"server: {{port: {free_port()}}}\n"
        "indexes: {main: {packages: main}, staging: {packages: staging, bases: [main]}}\n"
    )
    Watch(spec.load(path)).once()
    return path


def nginx_port(of: Spec) -> int:
    return int(str(of.url).split(":")[2].split("/")[0])


@pytest.fixture(
    scope="module",
    params=[("", ""), ("/team/py.pi", SURROUNDINGS)],
    ids=["plain", "prefix and surroundings"],
)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    prefix, surroundings = request.param
    folder = tmp_path_factory.mktemp("site")
    path = make_spec(folder, prefix)
    given_spec = spec.load(path)
    command = configuration(folder / "nginx", render.nginx(given_spec, HOST), surroundings)
    port, behind = nginx_port(given_spec), given_spec.server.port
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"{HOST}:{behind}", "--workers=1"]
    gunicorn += ["--threads=4", "--keep-alive=75", "--no-control-socket", "appliance.wsgi"]
    with (
        running(gunicorn, behind, folder / "gunicorn.log", PYINDEX_SPEC=str(path)),
        running(command, port, folder / "nginx.log"),
    ):
        yield Pair(given_spec, Server(port, prefix), Server(behind))


SHOWN = ["/simple/", PAGE, "/main/simple/", f"/main{PAGE}", f"/staging{PAGE}"]
ENCODINGS = [None, "gzip", "gzip, deflate, zstd", "identity", "gzip;q=0", "br;q=1, gzip;q=0.1", "*"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("path", SHOWN)
def test_pages_are_the_same_from_both(pair: Pair, path: str, encoding: str | None) -> None:
    """Status, every header and the body, whatever form and coding a client wants."""
    for accept in (None, OLD_HTML, HTML, JSON, *(text for _, text, _ in accepts.CLIENTS)):
        headers = {"Accept": accept, "Accept-Encoding": encoding}
        asked = {name: value for name, value in headers.items() if value is not None}
        answer = pair.both(path, asked)
        assert answer.status == 200
        assert answer.headers["x-pypi-last-serial"].isdecimal()
        assert "last-modified" not in answer.headers
        assert pair.both(path, asked, "HEAD").headers == answer.headers
        known = {"If-None-Match": f'"x", W/{answer.headers["etag"]}'}
        assert pair.both(path, asked | known).status == 304
        changed = formatdate(int(answer.headers["x-pypi-last-serial"], 16), usegmt=True)
        assert pair.both(path, asked | {"If-Modified-Since": changed}).status == 200


def test_old_proxies_get_gzip_too(pair: Pair) -> None:
    """What a client accepts is all that counts, not by which protocol or through whom it asks."""
    for server in (pair.nginx, pair.application):
        with socket.create_connection((HOST, server.port), timeout=20) as connection:
            request = f"GET {server.prefix}{PAGE} HTTP/1.0\r\nVia: 1.0 x\r\nAccept-Encoding: gzip"
            connection.sendall(f"{request}\r\n\r\n".encode())
            head = connection.makefile("rb").read().partition(b"\r\n\r\n")[0].lower()
        assert b"content-encoding: gzip" in head


@pytest.mark.parametrize("accept", [text for text, _ in accepts.RULES])
def test_every_rule_is_kept_by_both(pair: Pair, accept: str) -> None:
    """What nginx does not send itself it leaves to the application, 406 among it."""
    pair.both(PAGE, {"Accept": accept.strip()})


@given(accept=accepts.headers())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_accept_gets_the_same_from_both(pair: Pair, accept: str) -> None:
    """No header can be found that nginx weighs differently."""
    pair.both(PAGE, {"Accept": accept})


def sent_by(pair: Pair, path: str, headers: dict[str, str] | None = None) -> str:
    """Who made the answer that nginx gave: the application spells headers in small letters."""
    connection = http.client.HTTPConnection(HOST, pair.nginx.port, timeout=20)
    connection.request("GET", f"{pair.nginx.prefix}{path}", headers=headers or {})
    names = {name for name, _ in connection.getresponse().getheaders()}
    connection.close()
    return "nginx" if "ETag" in names else "application"


@pytest.mark.parametrize(("client", "accept", "offer"), accepts.CLIENTS)
def test_nginx_alone_serves_clients(
    pair: Pair, client: str, accept: str | None, offer: str | None
) -> None:
    """Neither installers nor browsers cost any Python."""
    assert sent_by(pair, PAGE, {"Accept": accept} if accept is not None else {}) == "nginx"


def test_nginx_alone_serves_files(pair: Pair) -> None:
    """Nor do files, metadata and signatures; it is asked where a format is named."""
    for path in (WHEEL, f"{WHEEL}.metadata", f"{WHEEL}.asc", f"/main{WHEEL}"):
        assert sent_by(pair, path) == "nginx"
    assert sent_by(pair, f"{PAGE}?format={JSON}") == "application"
    assert sent_by(pair, PAGE, {"Accept": f"{JSON};q=0.5"}) == "application"


QUERIES = [
    f"format={JSON}",
    "format=x",
    "x",
    "",
    f"{JSON},",
    f"#{JSON}",
    f",{JSON},",
    f"%23{JSON}",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("accept", [None, OLD_HTML, "image/png"])
def test_queries_are_left_to_the_application(pair: Pair, query: str, accept: str | None) -> None:
    """``?format=`` is kept, and nothing in a query passes for a header."""
    pair.both(f"{PAGE}?{query}", {"Accept": accept} if accept else {})


CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"If-None-Match": "{etag}"}, 304),
    ({"If-None-Match": 'W/"x",W/{etag}'}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-Modified-Since": "Mon, 03 Feb 2020 04:05:05 GMT"}, 200),
    ({"If-Modified-Since": "{modified}"}, 304),
    ({"If-Modified-Since": FUTURE}, 304),
    ({"Range": "bytes=0-0"}, 206),
    ({"Range": "bytes=5-9"}, 206),
    ({"Range": "bytes=0-"}, 206),
    ({"Range": "bytes=-5"}, 206),
    ({"Range": "bytes=-99999999"}, 206),
    ({"Range": "bytes=5-9,99999999-"}, 206),
    ({"Range": "bytes=0-1,3-4"}, 200),
    ({"Range": "lines=0-1"}, 200),
    ({"Range": "bytes=1-2", "If-Range": "{etag}"}, 206),
    ({"Range": "bytes=1-2", "If-Range": "{modified}"}, 206),
    ({"Range": "bytes=1-2", "If-Range": '"x"'}, 200),
    ({"Range": "bytes=1-2", "If-Range": FUTURE}, 200),
    ({"Range": "bytes=1-2", "If-None-Match": "{etag}"}, 304),
    ({"Accept": "image/png", "Accept-Encoding": "gzip"}, 200),
]
UNSATISFIABLE = ["bytes=99999999-", "bytes=-0", "bytes=9-5", "bytes=x", "bytes=1-2,", "bytes=1"]


@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
@pytest.mark.parametrize("path", [WHEEL, f"{WHEEL}.metadata", f"{WHEEL}.asc", LARGE])
def test_files_are_the_same_from_both(
    pair: Pair, path: str, headers: dict[str, str], status: int
) -> None:
    """Validators, conditions and ranges, and every header of the answer."""
    whole = pair.both(path)
    known = {"etag": whole.headers["etag"], "modified": whole.headers["last-modified"]}
    answer = pair.both(path, {name: value.format(**known) for name, value in headers.items()})
    assert answer.status == status
    assert pair.both(path, method="HEAD").headers == whole.headers


DIFFERENT = [
    # RFC 9110 lets If-None-Match alone decide; nginx wants both to agree.
    ("GET", {"If-None-Match": "*", "If-Modified-Since": "Mon, 03 Feb 2003 04:05:06 GMT"}, 200, 304),
    # RFC 9110 knows ranges for GET only; nginx describes the part.
    ("HEAD", {"Range": "bytes=0-1"}, 206, 200),
]


@pytest.mark.parametrize(("method", "headers", "nginx", "application"), DIFFERENT)
def test_where_nginx_is_known_to_differ(
    pair: Pair, method: str, headers: dict[str, str], nginx: int, application: int
) -> None:
    """No client that we know asks so, and neither answer harms one that does."""
    assert pair.nginx.ask(WHEEL, headers, method).status == nginx
    assert pair.application.ask(WHEEL, headers, method).status == application


@pytest.mark.parametrize("wanted", UNSATISFIABLE)
def test_both_refuse_the_same_ranges(pair: Pair, wanted: str) -> None:
    """416 with the file's size; only the text differs."""
    for server in (pair.nginx, pair.application):
        answer = server.ask(f"{WHEEL}.asc", {"Range": wanted})
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */29")


ELSEWHERE = [
    ("GET", "/simple", 301),
    ("GET", "/simple/Foo_Bar/", 301),
    ("GET", "/simple/Foo_Bar", 301),
    ("HEAD", "/staging/simple/Foo.Bar/?format=x", 301),
    ("GET", "/simple/nothing/", 404),
    ("GET", "/simple/only-here/", 404),
    ("GET", "/staging/simple/only-here/", 200),
    ("GET", "/simple/-/", 400),
    ("GET", "/simple/foo-bar/index.html", 404),
    ("GET", "/simple/foo-bar/index.json.gz", 404),
    ("GET", "/packages/nothing.whl", 404),
    ("GET", "/packages/.layout", 404),
    ("GET", f"{WHEEL}/", 404),
    ("GET", "/packages/", 200),
    ("GET", "/staging/packages/", 200),
    ("GET", "/pypi/foo-bar/json", 200),
    ("GET", "/pypi/Foo_Bar/json", 301),
    ("GET", "/health", 200),
    ("GET", "/", 200),
    ("GET", "/staging/", 200),
    ("POST", PAGE, 405),
    ("DELETE", "/simple/", 405),
    ("POST", "/simple/Foo", 405),
    ("PUT", WHEEL, 405),
    ("OPTIONS", PAGE, 200),
]


@pytest.mark.parametrize(("method", "path", "status"), ELSEWHERE)
def test_the_rest_is_the_application_s(pair: Pair, method: str, path: str, status: int) -> None:
    """Redirects, errors and other APIs arrive as they left, below the prefix of the url."""
    answer = pair.both(path, {"Content-Length": "0"}, method)
    assert answer.status == status
    if status == 301:
        assert answer.headers["location"].startswith(f"{pair.nginx.prefix}/")
    if status == 405:
        assert answer.headers["allow"]


def test_nginx_keeps_its_connection_to_the_application(pair: Pair) -> None:
    """A request that is passed on need not wait for a new one."""
    assert pair.nginx.ask("/health").status == 200
    established, peer = "01", f"{pair.application.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    assert any(line[2].endswith(f":{peer}") and line[3] == established for line in lines)


def test_what_is_normal_is_not_logged_as_an_error(pair: Pair) -> None:
    """A page that is missing, a listing or an unnormalised name are all in a day's work."""
    log = pair.spec.state.with_name("nginx") / "errors"
    before = log.read_text().count("[error]")
    for path in ("/simple/nothing/", "/packages/nothing", "/packages/", "/simple/Foo_Bar", "/x"):
        pair.both(path, {"Accept-Encoding": "gzip"})
    assert log.read_text().count("[error]") == before


HOSTILE = [
    *("/simple/../", "/simple/%2e%2e/", "/simple/..%2f..%2fstate/", "/simple/%2e%2e%2f/"),
    *("/packages/../catalog.sqlite", "/packages/..%2fcatalog.sqlite", "/packages/%2e%2e/.layout"),
    *("/packages/..", "/packages/../..", "/packages/../../catalog.sqlite", "/../etc/passwd"),
    *("/packages/%2e%2e/%2e%2e/catalog.sqlite", "/packages/sub%20dir/../../../../etc/passwd"),
    *("/packages//etc/passwd", "/packages/%2fetc/passwd", "//etc/passwd", "/packages/sub%20dir"),
    *("/packages/sub%20dir/", "/packages/..%5c..%5ccatalog.sqlite", "/packages/..\\x"),
    *("/packages/%00", f"{WHEEL}%00", f"{WHEEL}%00.asc", f"{WHEEL}%0a", f"{WHEEL}%0d%0aX:%20y"),
    *("/packages/%c0%ae%c0%ae/catalog.sqlite", "/packages/%ff", "/packages/%e0%80%ae", "/%ff"),
    *("/simple/%00/", "/simple/foo%0abar/", "/simple/%c3%a9/", "/simple/%ff/", "/simple/a%2fb/"),
    *("/packages/%", "/packages/%zz", "/packages/%2", "/packages/%252e%252e/x", "/.layout"),
    *("/packages/" + "x" * 300, "/packages/" + "x/" * 1500, "/simple/" + "x" * 3000 + "/"),
    *("/main/../catalog.sqlite", "/nothing/simple/foo-bar/", "/catalog.sqlite", "/../state"),
    *("/simple/_ask", f"{PAGE}_ask", "/packages/.hidden", "/packages/sub%20dir/.hidden"),
    *("/simple/foo-bar/%3fformat=x", "/packages/x?../catalog.sqlite/.."),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_lead_nowhere(pair: Pair, path: str) -> None:
    """A 4xx, or a redirect to a project of that name, from both; never what is not published."""
    for name in ("packages/.hidden", "packages/sub dir/.hidden", "secret"):
        (pair.spec.www / name).write_bytes(b"SQLite format 3 root:")
    for server in (pair.nginx, pair.application):
        answer = server.ask(path)
        if answer.status == 301:
            assert answer.headers["location"].startswith(f"{pair.nginx.prefix}/simple/")
        else:
            assert 400 <= answer.status < 500
        assert not any(word in answer.body for word in (b"SQLite format", b"root:"))


def test_a_redirect_stays_on_this_host(pair: Pair) -> None:
    """``//evil.example`` is a path of ours, and Host is nobody's business."""
    for path in ("//evil.example", "//evil.example/simple/Foo", "/simple//evil.example", "/simple"):
        for server in (pair.nginx, pair.application):
            location = server.ask(path).headers.get("location", f"{pair.nginx.prefix}/")
            assert location.startswith(f"{pair.nginx.prefix}/")
            assert not location.startswith("//")
    if pair.nginx.prefix:
        answer = Server(pair.nginx.port).ask(pair.nginx.prefix)
        assert (answer.status, answer.headers["location"]) == (301, f"{pair.nginx.prefix}/")


def test_nothing_of_ours_is_outside_the_prefix(pair: Pair) -> None:
    """With a prefix in the url there is nothing at the root."""
    if pair.nginx.prefix:
        for path in (PAGE, f"{PAGE}index.html", WHEEL, "/", "/health"):
            assert Server(pair.nginx.port).ask(path).status == 404


def test_what_changes_shows_at_once(pair: Pair) -> None:
    """Neither server keeps a page that has been replaced, nor for long a file that is gone."""
    packages = pair.spec.indexes["main"].packages
    before = pair.both("/simple/later/").status, pair.both("/simple/").headers["etag"]
    wheel = uploaded(make_wheel(packages, "later", "1.0"), MADE)
    Watch(pair.spec).once()
    shown = pair.both("/simple/later/")
    assert (before[0], shown.status) == (404, 200)
    assert pair.both("/simple/").headers["etag"] != before[1]
    assert pair.both(f"/packages/{wheel.name}").status == 200
    uploaded(make_wheel(packages, "later", "2.0"), MADE)
    wheel.unlink()
    assert pair.application.ask(f"/packages/{wheel.name}").status == 404
    eventually(lambda: pair.nginx.ask(f"/packages/{wheel.name}").status == 404)
    Watch(pair.spec).once()
    assert pair.both("/simple/later/").headers["etag"] != shown.headers["etag"]
    assert wheel.name not in pair.both("/simple/later/").body.decode()


def test_a_client_that_leaves_costs_no_descriptor(pair: Pair) -> None:
    """A download that is cut off is closed on both sides; nginx keeps the file at hand, once."""
    for server in (pair.application, pair.nginx):
        for _ in range(8):
            with socket.create_connection((HOST, server.port), timeout=20) as connection:
                request = f"GET {server.prefix}{LARGE} HTTP/1.1\r\nHost: x\r\n\r\n"
                connection.sendall(request.encode())
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
    held = Path(pair.spec.indexes["main"].packages, LARGE[10:])
    eventually(lambda: len(_holders(held)) <= 1)


def _holders(path: Path) -> list[str]:
    """The processes that have ``path`` open."""
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if descriptor.readlink() == path:
                found.append(descriptor.parts[2])
    return found


def test_pages_and_files_need_no_application(tmp_path: Path) -> None:
    """Without it clients are served as before; what only it can say is 503 with a reason."""
    alone = spec.load(make_spec(tmp_path))
    command = configuration(tmp_path / "nginx", render.nginx(alone, HOST))
    with running(command, nginx_port(alone), tmp_path / "log"):
        server = Server(nginx_port(alone))
        for path in ("/simple/", PAGE, f"/staging{PAGE}", WHEEL, f"{WHEEL}.metadata"):
            assert server.ask(path).status == 200
        for path in ("/", "/simple/Foo_Bar", "/simple/nothing/", "/packages/x", "/packages/"):
            answer = server.ask(path)
            assert (answer.status, answer.headers["content-type"]) == (503, "text/plain")
            assert b"application behind nginx does not answer" in answer.body
        assert server.ask(PAGE, {"Accept": f"{JSON};q=0.5"}).status == 503
        assert server.ask(PAGE, method="POST").status == 503


Write = Callable[[Path], str]


def check(folder: Path, site: str) -> subprocess.CompletedProcess[str]:
    command = [*configuration(folder / "nginx", site), "-t", "-q"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


ADDRESSES = [
    "{}",
    "name: 9-lives\nurl: http://pypi.lab.example:8081/pypi/~team/v1.2",
    f"name: {'long-' * 12}xyz\nurl: https://pypi.lab.example/x",
    "name: request\nurl: http://[::1]:8081/x\nserver: {host: '::', port: 1}",
    "server: {host: 0.0.0.0, port: 65535}\nnginx: {max_upload: 5g}",
]


@pytest.mark.parametrize("text", ADDRESSES)
def test_nginx_takes_what_is_rendered(tmp_path: Path, text: str) -> None:
    """Any name, url and path that a spec may have is good configuration, twice in one nginx."""
    state = tmp_path / 'a "b" {c}; \\d #e'
    path = tmp_path / "pyindex.yml"
    lines = "" if text == "{}" else f"{text}\n"
    path.write_text(
        f"{lines}state: {str(state)!r}\nindexes: {{main: {{packages: p}}, 1-x: {{packages: q}}}}\n"
    )
    site = render.nginx(spec.load(path), HOST)
    indexes = spec.load(path).indexes
    other = Spec(name="other", url="http://other", state=tmp_path / "s", indexes=indexes)
    found = check(tmp_path, site + render.nginx(other, HOST))
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_nginx_speaks_https(tmp_path: Path) -> None:
    """Certificate and key of the spec are used at the port of its url, 443 by default."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "url: https://pypi.lab.example\nstate: s\nindexes: {main: {packages: p}}\n"
        "nginx: {tls: {certificate: cert.pem, key: key.pem}}\n"
    )
    site = render.nginx(spec.load(path), HOST)
    assert f"listen {HOST}:443 ssl;" in site
    found = check(tmp_path, site)
    assert (found.returncode, found.stderr) == (0, "")


WORDS = [
    ("plain", '"plain"'),
    ("", '""'),
    ("with space; {and} #more", '"with space; {and} #more"'),
    ('a "quote"', '"a \\"quote\\""'),
    ("back\\slash", '"back\\\\slash"'),
    ("\\n", '"\\\\n"'),
    ("it's", '"it\'s"'),
    ("föö/日本", '"föö/日本"'),
    (Path("/srv/x"), '"/srv/x"'),
]


@pytest.mark.parametrize(("value", "word"), WORDS)
def test_a_value_is_one_word(value: object, word: str) -> None:
    """Whatever it holds, a value neither ends early nor becomes something else."""
    assert escapes.nginx(value) == word


@pytest.mark.parametrize("value", ["$uri", "/srv/$x", "a\nb", "a\0", "\x7f"])
def test_what_nginx_cannot_be_told_is_refused(value: str) -> None:
    """nginx has no way to write these."""
    with pytest.raises(SpecError, match="cannot stand in nginx's configuration"):
        escapes.nginx(value)


def test_words_are_what_nginx_reads(tmp_path: Path) -> None:
    """nginx reads each word back as the value."""
    values = [str(value) for value, _ in WORDS if value]
    body = "".join(f"add_header X-{n} {escapes.nginx(v)};" for n, v in enumerate(values))
    port = free_port()
    site = f"server {{ listen {HOST}:{port}; location / {{ {body} return 204; }} }}"
    with running(configuration(tmp_path / "nginx", site), port, tmp_path / "log"):
        headers = Server(port).ask("/").headers
    sent = [headers[f"x-{n}"].encode("latin-1").decode() for n in range(len(values))]
    assert sent == values


def test_a_name_that_is_missing_is_an_error() -> None:
    """A template that asks for what is not there does not render."""
    with pytest.raises(jinja2.UndefinedError):
        render._environment().from_string("{{ nothing }}").render()
