"""htpasswd files: which hashes and lines are accepted."""

from pathlib import Path

import pytest

from appliance.accounts.htpasswd import AccountsError, read, verify

# The password is "geheim", by `htpasswd -nbB -C 4`, `openssl passwd -6`, `-5`, `-apr1`.
HASHES = {
    "bcrypt": "$2y$04$5AY0mGaRrG725SzuaL0zreU2C9JW0n28VvjoAZ8OJaQkYEKgKnDOu",
    "sha512": "$6$abcdefgh$msgktWxVAbjjh3X7lA5LaM7dS/ZfABJL6T4qcRsnjcO"
    "Tj0kptUvZcrvrXIoO5fgPA9xz6UnF2To2Y7jGc/IZY/",
    "sha256": "$5$abcdefgh$azU9PNNJw9essBuwq5yihWY9lFXM0dF54Ph4sAxX.YB",
    "apr1": "$apr1$abcdefgh$bw9gEObk10asetVLiysIZ0",
}
# (what stands after the colon; what the message says of it)
REJECTED = [
    ("geheim", "got plain text or DES"),
    ("abJnggxhB/yWI", "got plain text or DES"),
    ("{SHA}b5BaTB+fSdHhBlNPcXMUIwkZqRI=", "got unsalted SHA-1"),
    ("$y$j9T$abc$def", "got $y$"),
    ("$6$", "got $6$"),
    ("", "got plain text or DES"),
]


@pytest.mark.parametrize("scheme", HASHES)
def test_hash_is_verified(tmp_path: Path, scheme: str) -> None:
    """Each scheme verifies its password, and no other."""
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\n\nalice:{HASHES[scheme]}\r\nalice:geheim2\n")
    accounts = read(path)
    assert verify(accounts, "alice", "geheim")
    for account, password in (
        *(("alice", "Geheim"), ("alice", ""), ("alice", "geheim\0"), ("alice", "x" * 5000)),
        *(("bob", "geheim"), ("", "geheim"), ("alice ", "geheim")),
    ):
        assert not verify(accounts, account, password)


@pytest.mark.parametrize(("digest", "message"), REJECTED)
def test_weak_hash_is_rejected(tmp_path: Path, digest: str, message: str) -> None:
    """A line with another hash is no account; its message names file, line and account."""
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASHES['bcrypt']}\nbob:{digest}\n")
    accounts = read(path)
    assert list(accounts.hashes) == ["alice"]
    (problem,) = accounts.problems
    assert problem.startswith(f"{path}:2: account 'bob': expected a hash by bcrypt, SHA-512, SHA-2")
    assert message in problem
    assert digest not in problem or not digest or digest == "$6$"


@pytest.mark.parametrize("line", ["alice", ":x", "everyone:x", "members:x", "owner:x", "tokens:x"])
def test_line_without_account_is_reported(tmp_path: Path, line: str) -> None:
    """A line without an account, or with a word that means several, is reported."""
    path = tmp_path / "htpasswd"
    path.write_text(f"{line}\n")
    assert read(path).hashes == {}
    assert len(read(path).problems) == 1


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """A file that cannot be read is an error that names it."""
    with pytest.raises(AccountsError, match="htpasswd: No such file or directory"):
        read(tmp_path / "htpasswd")
    with pytest.raises(AccountsError, match="Is a directory"):
        read(tmp_path)


def test_long_password_is_cut_as_htpasswd_does(tmp_path: Path) -> None:
    """bcrypt uses 72 bytes of a password; htpasswd and Apache drop the rest."""
    import bcrypt

    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{bcrypt.hashpw(b'x' * 72, bcrypt.gensalt(4)).decode()}\n")
    assert verify(read(path), "alice", "x" * 100)
