"""Rights and warnings of specs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance import spec
from appliance.accounts.principal import ANONYMOUS, Principal, Scope
from appliance.errors import SpecError
from appliance.policy.rights import Right, Rights
from appliance.policy.warnings import warnings
from appliance.spec import Spec

ALICE, BOB = Principal("alice"), Principal("bob")


def load(directory: Path, indexes: dict[str, Any], **more: Any) -> Spec:
    sections = {name: {"packages": name, **section} for name, section in indexes.items()}
    path = directory / "pyindex.yml"
    path.write_text(yaml.safe_dump({"state": "s", "indexes": sections, **more}, sort_keys=False))
    return spec.load(path)


def token(rights: str, account: str | None = None, **scope: tuple[str, ...]) -> Principal:
    return Principal(account, "t", Scope(frozenset(rights.split()), **scope))


RULES = {
    "read": ["members"],
    "upload": ["alice", "bob"],
    "yank": ["owner"],
    "remove": ["owner", "carol"],
    "projects": {
        "acme-core": {"upload": ["alice"]},
        "acme-*": {"upload": ["ci"], "read": ["everyone"], "yank": []},
        "*-internal": {"read": ["alice"]},
    },
}
# (who; right; project; its owner; whether it has the right)
CASES: list[tuple[Principal, Right, str | None, str | None, bool]] = [
    (ANONYMOUS, "read", "foo", None, False),
    (ANONYMOUS, "read", "acme-x", None, True),
    (ANONYMOUS, "read", None, None, True),
    (BOB, "read", "foo", None, True),
    (BOB, "read", "x-internal", None, False),
    (BOB, "read", "acme-internal", None, True),  # the first pattern decides
    (ALICE, "read", "x-internal", None, True),
    (ALICE, "upload", "foo", None, True),
    (ALICE, "upload", "foo", "alice", True),
    (ALICE, "upload", "foo", "bob", False),
    (ALICE, "upload", "acme-x", None, False),
    (ALICE, "upload", "acme-core", "bob", True),
    (BOB, "upload", "acme-core", "bob", False),
    (Principal("ci"), "upload", "acme-x", "alice", True),
    (Principal("ci"), "upload", "foo", None, False),
    (Principal("ci"), "upload", None, None, True),
    (ANONYMOUS, "upload", None, None, False),
    (ALICE, "yank", "foo", "alice", True),
    (ALICE, "yank", "foo", None, False),
    (ALICE, "yank", "acme-x", "alice", False),
    (ALICE, "yank", None, None, True),
    (Principal("carol"), "remove", "foo", "alice", True),
    (BOB, "remove", "foo", "alice", False),
    (ANONYMOUS, "remove", "foo", None, False),
    (token("upload", projects=("acme-*",)), "upload", "acme-x", "alice", True),
    (token("upload", projects=("acme-*",)), "upload", "acmeworld", None, False),
    (token("upload", projects=("acme-*",)), "upload", None, None, True),
    (token("upload", projects=("acme-*",)), "yank", "acme-x", None, False),
    (token("upload", projects=("acme-*",)), "read", "foo", None, False),
    (token("upload", projects=("acme-*",)), "read", "acme-x", None, True),
    (token("upload", indexes=("other",)), "upload", "acme-x", None, False),
    (token("upload", "alice"), "upload", "acme-x", None, False),
    (token("upload", "alice"), "upload", "foo", "alice", True),
    (token("upload", "alice"), "upload", "foo", "bob", False),
    (token("read", "alice"), "upload", "foo", None, False),
    (token("read"), "read", "x-internal", None, True),
    (Principal("members"), "upload", "acme-x", None, False),
]


@pytest.mark.parametrize(("who", "right", "project", "owner", "expected"), CASES)
def test_lists_decide(
    tmp_path: Path,
    who: Principal,
    right: Right,
    project: str | None,
    owner: str | None,
    expected: bool,
) -> None:
    """The list of the first pattern decides, else that of the index and the owner."""
    rights = Rights(load(tmp_path, {"main": RULES}))
    assert rights.has(who, right, "main", project, lambda: owner) is expected


def test_nothing_but_reading_is_permitted_by_default(tmp_path: Path) -> None:
    """Without lists, all clients may read and none may change anything."""
    given = load(tmp_path, {"main": {}})
    rights = Rights(given)
    assert rights.is_open("main")
    assert not rights.has_secrets
    assert not given.indexes["main"].accepts_uploads
    for right in ("upload", "yank", "remove"):
        assert not rights.has(ALICE, right, "main", "foo")


# (lists; the error)
FAULTS = [
    ("upload: [everyone]", "indexes.main.upload[0]: expected an account, or members or tokens"),
    ("upload: [owner]", "indexes.main.upload[0]: expected an account, or members or tokens"),
    ("yank: [everyone]", "indexes.main.yank[0]: expected an account, or members or owner"),
    ("read: [owner]", "indexes.main.read[0]: expected an account, or members or everyone"),
    ("read: everyone", "indexes.main.read: expected a list such as [a, b], got 'everyone'"),
    ("projects: {'a b': {}}", "expected the name of a project, in which * stands for any letters"),
    ("projects: {a: {uploads: []}}", "indexes.main.projects.a.uploads: unknown key; did you mean"),
]


@pytest.mark.parametrize(("lists", "error"), FAULTS)
def test_dangerous_lists_are_errors(tmp_path: Path, lists: str, error: str) -> None:
    """No list lets clients without an account change anything."""
    path = tmp_path / "pyindex.yml"
    path.write_text(f"state: s\nindexes:\n  main:\n    packages: p\n    {lists}\n")
    with pytest.raises(SpecError) as caught:
        spec.load(path)
    assert error in str(caught.value)


def test_warnings_name_what_may_be_meant_otherwise(tmp_path: Path) -> None:
    """Accounts that do not exist yet, and an index more open than a base, are warnings."""
    bcrypt = f"$2y$04${'a' * 53}"
    (tmp_path / "htpasswd").write_text(f"alice:{bcrypt}\nbob:plain\n")
    indexes = {
        "main": {"read": ["alice"], "projects": {"x": {"upload": ["ci", "tokens"]}}},
        "all": {"bases": ["main"]},
    }
    given = load(tmp_path, indexes, accounts={"htpasswd": "htpasswd"})
    found = list(warnings(given))
    assert found[1:] == [
        f"indexes.main.projects.x.upload: account ci not found in {tmp_path}/htpasswd",
        "indexes.all.read: everyone, but its base main is not for everyone; clients that may not"
        " read main may not read all",
    ]
    assert found[0].startswith(f"{tmp_path}/htpasswd:2: account 'bob': expected a hash")
    assert list(warnings(load(tmp_path, {"main": {"upload": ["ci"]}}))) == [
        "accounts.htpasswd: missing; ci can log in by tokens alone"
    ]
    assert list(warnings(load(tmp_path, {"main": {}}))) == []
