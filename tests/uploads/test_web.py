"""The endpoint of uploads over HTTP: paths, actions, status lines."""

import base64
from pathlib import Path

import bcrypt
import pytest
from falcon.testing import Result, StartResponseMock, TestClient, create_environ

from appliance import spec
from appliance.operations.update import update
from appliance.web.app import create_app
from appliance.web.connection import RECEIVER, STREAMS
from tests.dist import make_wheel
from tests.metrics import metrics
from tests.uploads.forms import CONTENT_TYPE, encode, of_file

WHEEL = "foo-1.0-py2.py3-none-any.whl"
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "sings", "жора": "x"}
SPEC = """
indexes:
  main: {packages: main, upload: [alice, bob], remove: [carol]}
  closed: {packages: closed}
  private: {packages: private, read: [alice], upload: [alice, bob]}
accounts: {htpasswd: htpasswd}
state: state
"""


def login(account: str, password: str | None = None) -> dict[str, str]:
    """Return the header of an account."""
    text = f"{account}:{PASSWORDS[account] if password is None else password}"
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


class Site:
    """An index that accepts uploads, one that accepts none, a private one, and a client of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("main", "closed", "private"):
            (root / name).mkdir()
        hashes = {
            name: bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
            for name, password in PASSWORDS.items()
        }
        (root / "htpasswd").write_text("".join(f"{name}:{text}\n" for name, text in hashes.items()))
        (root / "pyindex.yml").write_text(SPEC)
        self.spec = spec.load(root / "pyindex.yml")
        update(self.spec)
        self.app = create_app(self.spec)
        self.client = TestClient(self.app)

    def post(self, body: bytes, path: str = "/legacy/", **headers: str) -> Result:
        headers = {"Content-Type": CONTENT_TYPE} | (headers or login("alice"))
        return self.client.simulate_post(path, body=body, headers=headers)

    def wheel(self, name: str = "foo", version: str = "1.0") -> bytes:
        """Return the form of a wheel."""
        return of_file(make_wheel(self.root, name, version), name, version)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


PATHS = ["/", "/legacy", "/legacy/", "/main/", "/main/legacy", "/main/legacy/"]


@pytest.mark.parametrize("path", PATHS)
def test_uploads_are_accepted_at_each_path(site: Site, path: str) -> None:
    """An upload is answered 200 with a small text, and the serial of pages that have its file."""
    answer = site.post(site.wheel(), path)
    assert (answer.status, answer.text) == ("200 OK", "OK\n")
    page = site.client.simulate_get("/simple/foo/")
    assert page.headers["X-PyPI-Last-Serial"] == answer.headers["X-PyPI-Last-Serial"]
    assert WHEEL in page.text


def test_account_may_have_any_characters(site: Site) -> None:
    """An account that a status line cannot carry is named in the body."""
    answer = site.post(site.wheel(), **{"Content-Type": CONTENT_TYPE} | login("жора"))
    text = "403 {} has no right to upload in index main"
    assert (answer.status, answer.text) == (text.format("????"), text.format("жора") + "\n")


def test_refusal_is_in_status_line_and_body(site: Site) -> None:
    """The reason of a refusal is in the status line and in the body, as clients show either."""
    site.post(site.wheel())
    make_wheel(site.root, "foo", "1.0", summary="other")
    answer = site.post(of_file(site.root / WHEEL, "foo", "1.0"))
    assert answer.status.startswith(f"400 File already exists ('{WHEEL}', with blake2_256 hash '")
    assert answer.text == f"{answer.status}\n"
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_metrics_count_uploads(site: Site) -> None:
    """Uploads and their bytes are counted, and refusals by their rule; not those of strangers."""
    body = site.wheel()
    assert site.post(body).status_code == site.post(body).status_code == 200
    other = of_file(make_wheel(site.root, "foo", "1.0", summary="other"), "foo", "1.0")
    assert site.post(other).status_code == 400
    assert site.post(encode({":action": "nonsense"})).status_code == 400
    assert site.post(body, **login("alice", "wrong")).status_code == 401
    for path in ("/legacy/", "/closed/legacy/"):
        large = {"Content-Type": CONTENT_TYPE, **login("alice"), "Content-Length": str(3 << 30)}
        assert site.client.simulate_post(path, headers=large).status_code in (403, 413)

    values = metrics(site.client.simulate_get("/metrics", headers=login("alice")).text)
    assert values['pyindex_uploads_total{index="main"}'] == 2
    assert values['pyindex_upload_bytes_total{index="main"}'] == 2 * len(body)
    name = 'pyindex_refused_uploads_total{index="main",rule="'
    refused = {key: value for key, value in values.items() if key.startswith(name) and value}
    assert refused == {f'{name}{rule}"}}': 1 for rule in ("exists", "invalid", "too_large")}
    assert not any('index="closed",rule' in key for key in values)


def test_streamed_upload_is_one_request(site: Site) -> None:
    """A request that the application is called for twice, as its body is streamed, counts once."""
    environ = create_environ(
        "/legacy/", method="POST", headers={"Content-Type": CONTENT_TYPE, **login("alice")}
    )
    body, answer = site.wheel(), StartResponseMock()
    environ |= {"CONTENT_LENGTH": str(len(body)), STREAMS: True}
    site.app(environ, answer)
    environ[RECEIVER].feed(body)
    del environ[STREAMS]
    site.app(environ, answer)
    assert answer.status == "200 OK"
    values = metrics(site.client.simulate_get("/metrics", headers=login("alice")).text)
    assert values['pyindex_requests_total{status="2xx"}'] == 1


def test_status_line_has_no_other_characters(site: Site) -> None:
    """A status line has characters of Latin-1 only, in one line of bounded length."""
    name = "\u2603\t" + "x" * 3000
    answer = site.post(encode({":action": "file_upload", "name": name, "version": "1"}))
    assert answer.status.startswith("400 '?")
    assert len(answer.status) < 500
    assert answer.status.isprintable()


LOGINS = [
    ({"X-None": ""}, "401 log in with an account or a token"),
    (login("alice", "wrong"), "401 wrong account or password"),
    (login("carol"), "403 carol has no right to upload in project foo of index main"),
]


@pytest.mark.parametrize(("headers", "status"), LOGINS)
def test_sender_needs_right(site: Site, headers: dict[str, str], status: str) -> None:
    """A client without the right gets 401 with a challenge, or 403, with the reason."""
    answer = site.post(site.wheel(), **headers)
    assert answer.status == status
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="pypi"'
    assert list((site.root / "main").iterdir()) == []


def test_project_belongs_to_first_uploader(site: Site) -> None:
    """Another account may not upload to a project that an account has begun, and gets its owner's
    name; not if it may upload nothing, or not read the project."""
    assert site.post(site.wheel()).status_code == 200
    text = "403 {} has no right to upload in project foo of index main"
    answer = site.post(site.wheel(version="2.0"), **login("bob"))
    assert answer.status == text.format("bob") + ": the project belongs to alice"
    answer = site.post(site.wheel(version="2.0"), **login("carol"))
    assert answer.status == text.format("carol")
    assert site.post(site.wheel(), "/private/legacy/").status_code == 200
    answer = site.post(site.wheel(version="2.0"), "/private/legacy/", **login("bob"))
    assert answer.status == text.format("bob").replace("main", "private")
    assert site.post(site.wheel("bar"), **login("bob")).status_code == 200


def test_index_without_key_refuses(site: Site) -> None:
    """An index that accepts no uploads names the key of the spec that allows them."""
    answer = site.post(site.wheel(), "/closed/legacy/")
    assert answer.status == (
        "403 Index closed accepts no uploads: `indexes.closed.upload` of the spec names no account"
    )


def test_upload_to_no_index_is_refused_with_reason(site: Site) -> None:
    """An upload to an index that is not in the spec learns what is wrong with the URL; a path that
    does not exist has the plain answer for other requests."""
    for path in ("/nosuch/legacy/", "/nosuch/legacy", "/nosuch/upload/x"):
        answer = site.post(site.wheel(), path)
        assert answer.status == "404 No index at this URL; upload to /legacy/ of the index"
        assert answer.text == f"{answer.status}\n"
    assert site.client.simulate_get("/nosuch/legacy/").status == "404 Not Found"
    assert site.client.simulate_post("/nosuch/legacy/", body=b"x").status == "404 Not Found"


def test_browser_cannot_upload(site: Site) -> None:
    """A form that a browser posts with stored credentials is refused."""
    answer = site.post(site.wheel(), **login("alice"), Origin="https://evil.example")
    assert answer.status == "403 Uploads from browsers are not accepted"


RELEASE = {"name": "foo", "version": "1.0"}
ACTIONS = [
    ("submit", "200 OK", "OK: projects need no registration; upload files\n"),
    ("submit_pkg_info", "200 OK", "OK: projects need no registration; upload files\n"),
    ("verify", "200 OK", "OK: projects need no registration; upload files\n"),
    ("doc_upload", "410 Documentation is not hosted here; upload package files only", None),
    ("user", "410 Accounts are made by the operator of this index", None),
    ("password_reset", "410 Accounts are made by the operator of this index", None),
    ("remove_pkg", "403 alice has no right to remove in project foo of index main", None),
    ("list_files", "400 Unknown :action 'list_files'; expected one of file_upload, ", None),
    ("", "400 Unknown :action ''; expected one of file_upload, ", None),
]


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize(("action", "status", "text"), ACTIONS)
def test_each_action_has_answer(
    site: Site, action: str, status: str, text: str | None, newline: bytes
) -> None:
    """Each action of old and new clients has an answer, however its lines end."""
    answer = site.post(encode({":action": action, **RELEASE}, newline=newline))
    assert answer.status.startswith(status)
    assert text in (None, answer.text)


def test_release_is_removed(site: Site) -> None:
    """`remove_pkg` moves the files of a release to the trash, for those who may remove."""
    site.post(site.wheel())
    body = encode({":action": "remove_pkg", **RELEASE})
    answer = site.post(body, **login("carol"))
    assert (answer.status, answer.text) == ("200 OK", f"OK: removed {WHEEL}\n")
    assert list((site.root / "main").iterdir()) == []
    assert site.client.simulate_get("/simple/foo/").status_code == 404
    assert site.post(body, **login("carol")).status.startswith("404 index main: project 'foo' not")


def test_classifiers_are_listed(site: Site) -> None:
    """GET with the action list_classifiers returns the classifiers, one a line."""
    for path in PATHS:
        answer = site.client.simulate_get(path, params={":action": "list_classifiers"})
        assert "Topic :: System :: Software Distribution\n" in answer.text
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_endpoint_explains_itself(site: Site) -> None:
    """GET of the endpoint says how to upload."""
    answer = site.client.simulate_get("/main/legacy/")
    assert "twine upload --repository-url http://falconframework.org/legacy/ dist/*" in answer.text


HEADS = [
    ({"Content-Length": str(3 << 30)}, "413 File too large: the limit is 2147483648 bytes"),
    ({"Content-Type": "application/json"}, "400 Expected a form (multipart/form-data)"),
]


@pytest.mark.parametrize(("headers", "status"), HEADS)
def test_head_of_request_suffices_for_refusal(
    site: Site, headers: dict[str, str], status: str
) -> None:
    """What the head of a request shows is refused before its body is read."""
    head = {"Content-Type": CONTENT_TYPE, **login("alice"), **headers}
    answer = site.client.simulate_post("/legacy/", headers=head, body=b"x")
    assert answer.status.startswith(status)
