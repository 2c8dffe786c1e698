"""Keys and signatures, judged by minisign."""

import subprocess
from pathlib import Path

import pytest

from appliance.bundle.minisign import new_key, read_public, read_secret
from appliance.errors import PyindexError
from tests.bundle.sides import Sides


def minisign(*arguments: str | Path, stdin: str = "") -> str:
    """Run minisign, and return what it prints."""
    command = ["minisign", *map(str, arguments)]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, input=stdin
    ).stdout.strip()


@pytest.fixture(autouse=True)
def _installed() -> None:
    try:
        minisign("-v")
    except FileNotFoundError:
        pytest.skip("needs minisign")


def no_password() -> str:
    raise AssertionError("asked for a password")


def test_minisign_verifies_bundle(both: Sides) -> None:
    """minisign verifies what a new key of pyindex signed, and its comment."""
    public = new_key(both.stick / "key")
    both.bundle(key=read_secret(both.stick / "key", no_password))
    printed = minisign("-V", "-m", both.out, "-p", both.stick / "key.pub")
    written = both.load(keys=[str(both.stick / "key.pub")])
    assert printed.splitlines() == [
        "Signature and comment signature verified",
        f"Trusted comment: pyindex bundle {written.bundle}, volume 1 of 1",
    ]
    assert written.key == public.id
    assert minisign("-V", "-H", "-m", both.out, "-P", public.line)


def test_signature_of_minisign_is_accepted(both: Sides) -> None:
    """A bundle that minisign signed with its own key is loaded."""
    secret, public = both.stick / "key", both.stick / "key.pub"
    minisign("-G", "-W", "-s", secret, "-p", public)
    both.bundle()
    minisign("-S", "-s", secret, "-m", both.out)
    assert both.load(keys=[public.read_text().splitlines()[1]]).new
    assert read_secret(secret, no_password).public == read_public(str(public))


def test_minisign_signs_with_key_of_pyindex(both: Sides) -> None:
    """minisign signs with a secret key that pyindex made."""
    public = new_key(both.stick / "key")
    assert (both.stick / "key").stat().st_mode & 0o777 == 0o600
    both.bundle()
    minisign("-S", "-s", both.stick / "key", "-m", both.out)
    assert both.load(keys=[public.line]).new


def test_legacy_signature_is_refused(both: Sides) -> None:
    """A signature over the whole file, which must be in memory, is refused with what to do."""
    minisign("-G", "-W", "-s", both.stick / "key", "-p", both.stick / "key.pub")
    both.bundle()
    minisign("-S", "-l", "-s", both.stick / "key", "-m", both.out)
    with pytest.raises(PyindexError) as error:
        both.load(keys=[str(both.stick / "key.pub")])
    assert str(error.value) == (
        f"{both.out}.minisig: signature in the legacy format; sign again without -l"
    )


@pytest.mark.integration
def test_encrypted_key_of_minisign_signs(both: Sides) -> None:
    """A secret key with a password signs; a wrong password is an error."""
    secret, public = both.stick / "key", both.stick / "key.pub"
    minisign("-G", "-s", secret, "-p", public, stdin="word\nword\n")
    both.bundle(key=read_secret(secret, lambda: "word"))
    assert minisign("-V", "-m", both.out, "-p", public)
    with pytest.raises(PyindexError) as error:
        read_secret(secret, lambda: "other")
    assert str(error.value) == f"{secret}: wrong password; nothing was signed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; pass a key file of minisign"),
        ("", "not a key file of minisign"),
        ("comment\nRWQ\n", "not a public key of minisign"),
        ("comment\n" + "A" * 56 + "\n", "not a public key of minisign"),
    ],
)
def test_file_that_is_no_key_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    """A file that is no key is an error that names it."""
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PyindexError) as error:
        read_public(str(path))
    assert str(error.value) == f"{path}: {message}"


def test_key_is_not_overwritten(tmp_path: Path) -> None:
    """A new key replaces no file, and leaves none without the other."""
    (tmp_path / "key.pub").write_text("text")
    with pytest.raises(PyindexError) as error:
        new_key(tmp_path / "key")
    assert str(error.value) == f"{tmp_path}/key.pub: exists; choose another name"
    assert not (tmp_path / "key").exists()
