"""Login: credentials in requests, and the answers without them."""

import base64
from pathlib import Path

import bcrypt
import falcon
import pytest
from falcon.testing import create_req
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.accounts.tokens import Tokens
from appliance.catalog.database import Catalog
from appliance.policy.rights import Right
from appliance.spec import Accounts, IndexSection, Spec
from appliance.spec.model import ProjectRights
from appliance.web.login import Login
from tests.conftest import Lab

REALM = 'Basic realm="pypi"'


def basic(user: str, password: str) -> str:
    """Return the header of HTTP Basic."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


ALICE, BOB, WRONG = basic("alice", "geheim"), basic("bob", "größe"), basic("alice", "x")


def write_accounts(path: Path) -> None:
    """Write an htpasswd file of alice and bob, with hashes that are cheap to verify."""
    lines = [
        f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
        for name, password in (("alice", "geheim"), ("bob", "größe"))
    ]
    path.write_text("".join(lines))


def with_accounts(lab: Lab, htpasswd: Path, **section: object) -> Spec:
    """Return the spec of the lab with accounts, and with other keys of its index."""
    write_accounts(htpasswd)
    index = IndexSection.model_validate({"packages": lab.packages, **section})
    update = {"indexes": {"main": index}, "accounts": Accounts(htpasswd=htpasswd)}
    return lab.spec.model_copy(update=update)


def outcome(login: Login, header: str | None, right: Right, project: str | None = None) -> str:
    """Return the principal or the status of a request."""
    headers = {"Authorization": header} if header else {}
    try:
        return str(login.authorize(create_req(headers=headers), "main", right, project))
    except falcon.HTTPUnauthorized as error:
        assert error.headers == {"WWW-Authenticate": REALM}
        return "401"
    except falcon.HTTPError as error:
        return str(error.status_code)


PRIVATE: dict[str, object] = {"read": ["members"], "upload": ["alice"]}
BY_PROJECT: dict[str, object] = {
    "upload": ["alice", "bob"],
    "projects": {"secret-*": ProjectRights(read=("alice",), upload=("bob",))},
}
# (keys of the index; header; right; project; the principal or the status)
REQUESTS: list[tuple[dict[str, object], str | None, Right, str | None, str]] = [
    ({}, None, "read", "foo", "anonymous"),
    ({}, WRONG, "read", "foo", "anonymous"),  # as nginx, which does not ask
    ({}, None, "upload", "foo", "401"),
    ({}, ALICE, "upload", "foo", "403"),
    (PRIVATE, None, "read", "foo", "401"),
    (PRIVATE, None, "read", None, "401"),
    (PRIVATE, WRONG, "read", "foo", "401"),
    (PRIVATE, "Basic ???", "read", "foo", "401"),
    (PRIVATE, "Basic \xff\xfe", "read", "foo", "401"),
    (PRIVATE, "Digest x", "read", "foo", "401"),
    (PRIVATE, f"Bearer {basic('alice', 'geheim')[6:]}", "read", "foo", "401"),
    (PRIVATE, f"{ALICE}, {ALICE}", "read", "foo", "401"),
    (PRIVATE, basic("alice\0", "geheim"), "read", "foo", "401"),
    (PRIVATE, basic("ALICE", "geheim"), "read", "foo", "401"),
    (
        PRIVATE,
        f"Basic {base64.b64encode('bob:größe'.encode('latin-1')).decode()}",
        "read",
        "foo",
        "bob",
    ),
    (PRIVATE, basic("nobody", "geheim"), "read", "foo", "401"),
    (PRIVATE, ALICE, "read", "foo", "alice"),
    (PRIVATE, BOB, "read", "foo", "bob"),
    (PRIVATE, ALICE, "upload", "foo", "alice"),
    (PRIVATE, BOB, "upload", "foo", "403"),
    (BY_PROJECT, None, "read", "foo", "anonymous"),
    (BY_PROJECT, None, "read", "secret-x", "401"),
    (BY_PROJECT, BOB, "read", "secret-x", "403"),
    (BY_PROJECT, ALICE, "read", "secret-x", "alice"),
    (BY_PROJECT, WRONG, "read", "foo", "401"),
    (BY_PROJECT, WRONG, "read", "secret-x", "401"),
    (BY_PROJECT, ALICE, "upload", "secret-x", "403"),
    (BY_PROJECT, BOB, "upload", "secret-x", "bob"),
]


@pytest.mark.parametrize(("keys", "header", "right", "project", "expected"), REQUESTS)
def test_request_is_authorized_by_rights(
    lab: Lab,
    tmp_path: Path,
    keys: dict[str, object],
    header: str | None,
    right: Right,
    project: str | None,
    expected: str,
) -> None:
    """A request gets its principal, or 401 or 403."""
    catalog = Catalog(lab.spec.catalog, create=True)
    login = Login(with_accounts(lab, tmp_path / "htpasswd", **keys), catalog)
    assert outcome(login, header, right, project) == expected


def test_latin_1_is_understood(lab: Lab, tmp_path: Path) -> None:
    """pip sends passwords in Latin-1, and others in UTF-8."""
    login = Login(with_accounts(lab, tmp_path / "htpasswd", **PRIVATE), lab.catalog)
    latin = base64.b64encode("bob:größe".encode("latin-1")).decode()
    assert outcome(login, f"Basic {latin}", "read") == "bob"
    assert outcome(login, f"basic  {latin} ", "read") == "bob"


@given(
    text=st.one_of(
        st.text(),
        st.binary().map(lambda data: f"Basic {base64.b64encode(data).decode()}"),
        st.text().map(lambda text: f"Bearer pyi-{text}"),
        st.text().map(lambda text: f"Basic {base64.b64encode(f'x:pyi-{text}'.encode()).decode()}"),
    )
)
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_no_header_lets_in_or_fails(private_login: Login, text: str) -> None:
    """Whatever the header Authorization is, the answer is 401, or 429 after too many passwords."""
    req = create_req()
    req.env["HTTP_AUTHORIZATION"] = text
    with pytest.raises(falcon.HTTPError) as caught:
        private_login.authorize(req, "main", "read")
    assert caught.value.status_code in (401, 429)


@pytest.fixture(scope="module")
def private_login(tmp_path_factory: pytest.TempPathFactory) -> Login:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    return Login(with_accounts(lab, lab.packages.parent / "htpasswd", **PRIVATE), lab.catalog)


def test_token_has_rights_of_its_scope(lab: Lab, tmp_path: Path) -> None:
    """A token has the rights of its scope alone, and none that its account lacks."""
    spec = with_accounts(lab, tmp_path / "htpasswd", **PRIVATE)
    tokens, login = Tokens(spec.tokens), Login(spec, lab.catalog)
    Catalog(spec.catalog, create=True)
    _, ci = tokens.create("ci", ["upload"], projects=["acme-*"])
    _, bobs = tokens.create("bobs", ["upload", "read"], account="bob")
    _, lost = tokens.create("lost", ["read"], account="carol")

    assert outcome(login, basic("__token__", ci), "upload", "acme-x") == "token ci"
    assert outcome(login, basic("anything", ci), "upload") == "token ci"
    assert outcome(login, f"Bearer {ci}", "upload", "acme-x") == "token ci"
    assert outcome(login, f"Bearer {ci}", "upload", "other") == "403"
    assert outcome(login, f"Bearer {ci}", "read", "acme-x") == "403"
    assert outcome(login, f"Bearer {ci}", "yank", "acme-x") == "403"
    assert outcome(login, f"Bearer {bobs}", "read", "foo") == "bob (token bobs)"
    assert outcome(login, f"Bearer {bobs}", "upload", "foo") == "403"
    assert outcome(login, f"Bearer {lost}", "read") == "401"
    assert outcome(login, f"Bearer {ci[:-1]}", "upload") == "401"

    tokens.revoke("ci")
    assert outcome(login, f"Bearer {ci}", "upload", "acme-x") == "401"


def test_project_belongs_to_first_uploader(lab: Lab, tmp_path: Path) -> None:
    """Another account than the owner may not upload, unless the spec says so."""
    spec = with_accounts(
        lab, tmp_path / "htpasswd", upload=["members"], projects={"shared": {"upload": ["members"]}}
    )
    Catalog(spec.catalog, create=True)
    with lab.catalog.change() as change:
        assert change.take_ownership("main", "foo", "alice") == "alice"
        assert change.take_ownership("main", "foo", "bob") == "alice"
        change.take_ownership("main", "shared", "alice")
    login = Login(spec, lab.catalog)
    assert outcome(login, ALICE, "upload", "foo") == "alice"
    assert outcome(login, BOB, "upload", "foo") == "403"
    assert outcome(login, BOB, "upload", "new") == "bob"
    assert outcome(login, BOB, "upload", "shared") == "bob"


def test_wrong_passwords_lock_an_account(lab: Lab, tmp_path: Path) -> None:
    """After five wrong passwords from one address there is no other attempt; a password that was
    verified before still works, and the same wrong one does not count again."""
    login = Login(with_accounts(lab, tmp_path / "htpasswd", **PRIVATE), lab.catalog)
    assert outcome(login, BOB, "read") == "bob"
    for _ in range(20):
        assert outcome(login, WRONG, "read") == "401"
    assert outcome(login, basic("bob", "0"), "read") == "401"
    for number in range(4):
        assert outcome(login, basic("alice", str(number)), "read") == "401"
    assert outcome(login, basic("alice", "other"), "read") == "429"
    assert outcome(login, ALICE, "read") == "429"
    assert outcome(login, BOB, "read") == "bob"
