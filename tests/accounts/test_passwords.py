"""Passwords: changes of the file, remembered results, and the log."""

import logging
from pathlib import Path

import bcrypt
import pytest

from appliance.accounts import htpasswd
from appliance.accounts.passwords import Passwords, TooManyFailures
from appliance.accounts.throttle import Throttle


def line(account: str, password: str) -> str:
    return f"{account}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(line("alice", "old"))
    return path


@pytest.fixture
def passwords(path: Path) -> Passwords:
    return Passwords(path, Throttle(path.with_name("failures")))


def test_change_of_file_counts_at_once(passwords: Passwords, path: Path) -> None:
    """A changed password, and a removed account, are noticed by the next request."""
    assert passwords.check("alice", "old", "192.0.2.1")
    path.write_text(line("alice", "new"))
    assert not passwords.check("alice", "old", "192.0.2.1")
    assert passwords.check("alice", "new", "192.0.2.1")
    assert passwords.has("alice")
    path.write_text("")
    assert not passwords.check("alice", "new", "192.0.2.1")
    assert not passwords.has("alice")


def test_password_is_verified_once(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that was verified is not hashed again for a while, a wrong one neither."""
    hashed: list[str] = []
    verify = htpasswd.verify

    def counted(accounts: htpasswd.Accounts, account: str, password: str) -> bool:
        hashed.append(password)
        return verify(accounts, account, password)

    monkeypatch.setattr(htpasswd, "verify", counted)
    for _ in range(10):
        assert passwords.check("alice", "old", "192.0.2.1")
        assert not passwords.check("alice", "wrong", "192.0.2.1")
    assert hashed == ["old", "wrong"]


def test_guesses_from_one_address_end(passwords: Passwords) -> None:
    """Other accounts from the same address are locked too after twenty failures, the account from
    another address is not."""
    with pytest.raises(TooManyFailures, match=r"too many wrong passwords; retry in \d+ seconds"):
        for number in range(21):
            passwords.check(f"account{number}", "x", "192.0.2.1")
    assert passwords.check("alice", "old", "192.0.2.2")


def test_ipv6_network_counts_as_one_address(passwords: Passwords) -> None:
    """A client that has a network of IPv6 addresses cannot lock an account by using all of them."""
    with pytest.raises(TooManyFailures):
        for number in range(6):
            passwords.check("alice", str(number), f"2001:db8:1:2::{number:x}")
    assert passwords.check("alice", "old", "2001:db8:1:3::1")


def test_flood_of_guesses_does_not_lock_users_out(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that was right before is verified again, however many others are wrong; until
    then, and after a change of the file, it waits as any."""
    assert passwords.check("alice", "old", "192.0.2.1")
    monkeypatch.setattr("appliance.accounts.passwords._REMEMBERED_SECONDS", -1.0)
    monkeypatch.setattr("appliance.accounts.htpasswd._SCHEMES", ())
    for number in range(100):
        assert not passwords.check("alice", str(number), f"198.51.100.{number}")
    monkeypatch.undo()
    with pytest.raises(TooManyFailures):
        passwords.check("alice", "other", "192.0.2.1")
    assert passwords.check("alice", "old", "192.0.2.1")
    assert passwords.check("alice", "old", "192.0.2.2")


TYPED = ["pyi-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "geheimnis", "alice\nWARNING root: x"]


@pytest.mark.parametrize("account", TYPED)
def test_no_password_is_in_the_log(
    passwords: Passwords, caplog: pytest.LogCaptureFixture, account: str
) -> None:
    """The log names address and existing account of a failure, and no password, also where that
    was typed as the account."""
    with caplog.at_level(logging.INFO):
        passwords.check("alice", "geheimnis", "192.0.2.1")
        passwords.check(account, "", "192.0.2.1")
    assert [record.getMessage() for record in caplog.records] == [
        "wrong password for account 'alice' from 192.0.2.1",
        "wrong password for an unknown account from 192.0.2.1",
    ]


def test_missing_file_is_an_error(passwords: Passwords, path: Path) -> None:
    """Without its file nobody is let in, and the error names it."""
    path.unlink()
    with pytest.raises(htpasswd.AccountsError, match="htpasswd: No such file"):
        passwords.check("alice", "old", "192.0.2.1")
    assert not Passwords(None, Throttle(path.with_name("f"))).check("alice", "old", "192.0.2.1")
