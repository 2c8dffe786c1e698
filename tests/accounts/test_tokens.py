"""Tokens: their form, their files, and the command."""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.accounts.tokens import Tokens, has_valid_checksum, is_token
from appliance.cli import main
from appliance.errors import NotFound, PyindexError
from appliance.operations.backup import backup
from appliance.operations.restore import restore
from appliance.spec import Backup
from tests.conftest import Lab


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "tokens")


def test_token_is_found_by_its_text(tokens: Tokens, tmp_path: Path) -> None:
    """A token is found by its whole text alone; its file has mode 0600 and no text of it."""
    token, text = tokens.create("ci", ["upload"], projects=["acme-*"], account="alice")
    assert re.fullmatch("pyi-[a-z2-7]{67}", text)
    assert is_token(text)
    assert has_valid_checksum(text)
    assert tokens.find(text) == token
    assert (token.principal.account, token.principal.owner) == ("alice", "alice")

    (path,) = (tmp_path / "tokens").glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert text[12:64] not in path.read_text()
    for other in (
        *(text[:-1], f"{text}a", text.upper(), f"{text[:20]}a{text[21:]}", "", "pyi-"),
        f"pyi-../../{text[10:]}",
    ):
        if other != text:
            assert tokens.find(other) is None
            assert not has_valid_checksum(other)


def test_use_is_noted_at_most_once_a_minute(tokens: Tokens, tmp_path: Path) -> None:
    """The time of the last use is that of a file, which is seldom touched."""
    token, text = tokens.create("ci", ["read"])
    assert tokens.last_used(token) is None
    tokens.find(text)
    first = tokens.last_used(token)
    assert first is not None
    tokens.find(text)
    assert tokens.last_used(token) == first


def test_expired_and_revoked_tokens_are_not_found(tokens: Tokens, tmp_path: Path) -> None:
    """A token ends with its time, or with its file."""
    expired, text = tokens.create("old", ["read"], seconds=0)
    assert expired.is_expired
    assert tokens.find(text) is None
    _, text = tokens.create("ci", ["read"], seconds=1000)
    assert tokens.find(text)
    with pytest.raises(PyindexError, match="token ci: exists already; choose another name"):
        tokens.create("ci", ["read"])
    tokens.revoke("ci")
    assert tokens.find(text) is None
    assert [token.name for token in tokens.all()] == ["old"]
    with pytest.raises(NotFound, match="token ci: not found"):
        tokens.revoke("ci")
    tokens.revoke(expired.id)
    assert list((tmp_path / "tokens").glob("[a-z]*")) == []


# What a damaged file may contain.
DAMAGED = [b"", b"{}", b"[]", b"\xff", b'{"id": "../../x"}', b'{"version": 2}', b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_file_is_no_token(
    tokens: Tokens, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file is logged, and denies its token alone."""
    token, text = tokens.create("ci", ["read"])
    _, other = tokens.create("other", ["read"])
    path = tmp_path / "tokens" / f"{token.id}.json"
    if content == b'{"version": 2}':
        content = json.dumps(json.loads(path.read_bytes()) | {"version": 2}).encode()
    path.write_bytes(content)
    assert tokens.find(text) is None
    assert str(path) in caplog.text
    assert tokens.find(other) is not None
    assert [each.name for each in tokens.all()] == ["other"]


def test_backup_has_tokens_and_restore_revives_none(lab: Lab, tmp_path: Path) -> None:
    """A backup has the tokens; a restore writes them only where the directory is lost, so that no
    revoked token returns."""
    lab.spec = lab.spec.model_copy(update={"backup": Backup(directory=tmp_path / "copies")})
    lab.once()
    tokens = Tokens(lab.spec.tokens)
    _, text = tokens.create("ci", ["read"])
    copy = backup(lab.spec)
    tokens.revoke("ci")
    assert f"tokens: kept those in {lab.spec.tokens}, not those of the backup" in list(
        restore(lab.spec, copy)
    )
    assert tokens.find(text) is None

    for path in lab.spec.tokens.iterdir():
        path.unlink()
    lab.spec.tokens.rmdir()
    assert "restored 1 token" in list(restore(lab.spec, copy))
    assert tokens.find(text) is not None


@pytest.fixture
def spec_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "htpasswd").write_text("")
    data: dict[str, Any] = {"state": "state", "indexes": {"main": {"packages": "packages"}}}
    data["accounts"] = {"htpasswd": "htpasswd"}
    path = tmp_path / "pyindex.yml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.usefixtures("spec_file")
def test_command_creates_lists_and_revokes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pyindex token` prints a token once, lists it without its text, and revokes it."""
    command = ["token", "create", "ci", "--right", "upload", "--project", "Acme_*"]
    assert main([*command, "--expires", "90d", "--account", "bob"]) == 0
    out, err = capsys.readouterr()
    text = out.strip()
    assert Tokens(tmp_path / "state/tokens").find(text) is not None
    assert err.splitlines() == [
        f"pyindex: warning: {tmp_path}/htpasswd: no account bob; the token is refused until there"
        " is one",
        "pyindex: token ci created; it is not shown again",
    ]

    assert main(["token", "list"]) == 0
    out = capsys.readouterr().out
    assert text not in out
    assert re.fullmatch(
        r"ci of bob: upload in acme-\* of all indexes; expires \S+Z; used \S+Z\n", out
    )
    assert main(["token", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["rights"], row["projects"], row["expired"]) == (["upload"], ["acme-*"], False)
    assert main(["token", "revoke", "ci"]) == 0
    assert capsys.readouterr().out == "token ci revoked\n"
    assert main(["token", "revoke", "ci"]) == 1


# (arguments after `token create`, the end of the error)
WRONG = [
    (["a b", "--right", "read"], "token name: expected letters"),
    (["ci"], "missing option '--right'"),
    (["ci", "--right", "read", "--index", "x"], "index 'x' not found; the spec has main"),
    (["ci", "--right", "read", "--project", "a b"], "expected the name of a project"),
    (["ci", "--right", "read", "--expires", "soon"], "expected a duration such as 90s"),
]


@pytest.mark.usefixtures("spec_file")
@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_command_explains_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong arguments get an error that says what is expected."""
    assert main(["token", "create", *arguments]) in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("spec_file")
@pytest.mark.parametrize("arguments", [["list"], ["revoke", "ci"]])
def test_command_reports_unreadable_tokens(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user who cannot read the tokens gets an error, not an index without tokens."""
    Tokens(tmp_path / "state/tokens").create("ci", ["read"])
    with as_nobody(tmp_path):
        assert main(["token", *arguments]) == 1
    error = capsys.readouterr().err
    assert error == f"pyindex: {tmp_path}/state/tokens: Permission denied\n"


@contextlib.contextmanager
def as_nobody(directory: Path) -> Iterator[None]:
    """Have the rights of a user who may enter the directories around ``directory`` only."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    for path in (directory, *directory.parents[:2]):
        path.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
