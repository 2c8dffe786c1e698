"""From one index to another by a bundle: files, times, decisions; again, in part, in volumes."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from appliance.bundle import tokens
from appliance.bundle.receipts import listing
from appliance.bundle.since import known_digests
from appliance.errors import PyindexError
from appliance.operations.decisions import remove, set_status, yank
from tests.bundle.sides import KEY, SECRET, Sides, furnish, seen
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel
from tests.wholeness import agree, package_files

P0, P1 = "p0-1.0-py2.py3-none-any.whl", "p1-1.0-py2.py3-none-any.whl"


def yanks(lab: Lab) -> dict[str, str | None]:
    with lab.catalog.read() as reader:
        return {name: reason for (_, name), reason in reader.decisions().yanks.items()}


def status(lab: Lab, project: str) -> tuple[str, str | None]:
    with lab.catalog.read() as reader:
        found = reader.project(lab.index, project)
        assert found is not None
        return found.status, found.status_reason


def test_load_brings_everything(both: Sides) -> None:
    """Files, their upload times, signatures, yanks and statuses are those of the other index."""
    both.near.once()
    yank(both.near.spec, both.near.index, P1, "broken")
    set_status(both.near.spec, both.near.index, "p2", "archived", "old")
    both.bundle()
    loaded = both.load()

    agree(both.far)
    own = package_files(both.far).keys() - package_files(both.near).keys()
    assert own == {"own-1.0-py2.py3-none-any.whl"}
    assert len(loaded.new) == 5
    for name in ("p0", "p1", "p2", "q"):
        near, far = both.near.page(name), both.far.page(name)
        assert near is not None
        assert far is not None
        assert near["files"] == far["files"]
        assert near["project-status"] == far["project-status"]
    assert both.far.served("sub/q-1.0.tar.gz.asc").startswith(b"-----BEGIN")


def test_same_content_gives_same_bytes(both: Sides, tmp_path: Path) -> None:
    """Bundles of the same index are equal byte for byte, wherever and with whatever umask."""
    both.bundle(key=SECRET)
    os.umask(before := os.umask(0o077))
    try:
        os.umask(0o077)
        both.bundle("again.tar", key=SECRET)
    finally:
        os.umask(before)
    for suffix in ("", ".minisig"):
        assert (
            Path(f"{both.out}{suffix}").read_bytes()
            == (both.stick / f"again.tar{suffix}").read_bytes()
        )


def test_tar_reads_bundle(both: Sides) -> None:
    """GNU tar and Python's tarfile unpack a bundle to the packages directory with its times."""
    both.bundle()
    subprocess.run(["tar", "xf", both.out, "-C", both.stick], check=True, stderr=subprocess.PIPE)
    unpacked = Lab.__new__(Lab)
    unpacked.packages = both.stick / "packages"
    assert package_files(unpacked) == package_files(both.near)
    assert (unpacked.packages / P1).stat().st_mtime == 1580608922
    with tarfile.open(both.out) as archive:
        members = archive.getmembers()
    assert members[0].name == "manifest.json"
    assert {(each.uid, each.gid, each.mode, each.uname) for each in members} == {(0, 0, 0o644, "")}


def test_second_load_changes_nothing(both: Sides) -> None:
    """A bundle that is loaded again changes nothing, and is reported as loaded."""
    both.bundle()
    assert both.load().receipt is not None
    before = seen(both.far)
    again = both.load()
    assert (again.new, again.receipt) == ([], None)
    assert seen(both.far) == before


def test_dry_run_changes_nothing(both: Sides) -> None:
    """A dry run reports new files and changes nothing."""
    both.bundle()
    before = seen(both.far)
    assert len(both.load(dry_run=True).new) == 5
    assert seen(both.far) == before


def test_file_that_is_there_stays(both: Sides) -> None:
    """A file with the same content stays where it is, at another path too."""
    (both.far.packages / "here").mkdir()
    shutil.copy2(both.near.packages / P0, both.far.packages / "here" / P0)
    both.bundle()
    assert P0 not in both.load().new
    assert f"here/{P0}" in package_files(both.far)
    agree(both.far)


# --- volumes --------------------------------------------------------------------------------------


def test_volumes_load_in_any_order(both: Sides) -> None:
    """Volumes of at most the given size are loaded in any order, signatures among them."""
    written = both.bundle(volume=10_000, key=SECRET)
    assert len(written.paths) > 1
    assert max(path.stat().st_size for path in written.paths) <= 10_000
    for path in written.paths if shutil.which("minisign") else ():
        command: list[str | Path] = ["minisign", "-V", "-m", path, "-P", KEY]
        subprocess.run(command, check=True, capture_output=True)
    both.load(*sorted(both.stick.iterdir(), reverse=True), keys=[KEY])
    agree(both.far)


@pytest.mark.integration
def test_volumes_replace_those_of_earlier_bundle(both: Sides) -> None:
    """Volumes and signatures of an earlier bundle with the same name do not remain."""
    first = both.bundle(volume=8_000, key=SECRET).paths
    second = both.bundle(volume=20_000).paths
    assert len(second) < len(first)
    assert sorted(both.stick.iterdir()) == second


def test_file_larger_than_volume_is_refused(both: Sides) -> None:
    """A file that fits into no volume is an error that names it, and nothing is written."""
    (both.near.packages / "big").mkdir()
    make_wheel(both.near.packages / "big", "big", "1.0", modules={"big": "x" * 50_000})
    with pytest.raises(PyindexError) as error:
        both.bundle(volume=30_000)
    assert str(error.value).startswith("big/big-1.0-py2.py3-none-any.whl: requires a volume of 5")
    assert str(error.value).endswith(" bytes, a volume has 30000; pass a larger --volume")
    assert list(both.stick.iterdir()) == []


# --- what is missing ------------------------------------------------------------------------------


def since(both: Sides, text: str) -> frozenset[str]:
    return known_digests(both.near.spec.state, text)


def test_token_leaves_out_what_is_there(both: Sides) -> None:
    """A bundle since a token has what is new, and the decisions about all files."""
    both.bundle()
    both.load()
    token = tokens.token(both.far.spec, both.far.index)
    assert token.isprintable()
    assert len(token) < 100

    make_sdist(both.near.packages, "new", "1.0")
    both.near.once()
    yank(both.near.spec, both.near.index, P0, "later")
    written = both.bundle("delta.tar", known=since(both, token))
    assert (written.files, written.left_out) == (1, 5)
    assert both.load(both.stick / "delta.tar").new == ["new-1.0.tar.gz"]
    assert yanks(both.far) == {P0: "later"}
    both.bundle("none.tar", known=since(both, tokens.token(both.far.spec, both.far.index)))
    assert both.load(both.stick / "none.tar").new == []


def test_token_of_empty_index_leaves_out_nothing(both: Sides) -> None:
    """The token of an index without bundles leaves out nothing."""
    assert since(both, tokens.token(both.far.spec, both.far.index)) == frozenset()


@pytest.mark.integration
def test_token_names_no_bundle_with_removed_files(both: Sides) -> None:
    """After a file was removed, the token does not claim its bundle."""
    both.bundle()
    both.load()
    remove(both.far.spec, both.far.index, P0)
    assert since(both, tokens.token(both.far.spec, both.far.index)) == frozenset()


@pytest.mark.integration
def test_token_names_bundles_of_different_files(both: Sides) -> None:
    """The token names each bundle that has files of its own, up to six, in under 100 characters."""
    both.near.once()
    with both.near.catalog.read() as reader:
        files = reader.files_after(both.near.index)
    for number, file in enumerate(files):
        both.bundle(f"{number}.tar", files=[file])
        both.load(both.stick / f"{number}.tar")
    token = tokens.token(both.far.spec, both.far.index)
    assert since(both, token) == {file.sha256 for file in files}
    assert len(tokens.make(["0123456789abcdef"] * 6)) < 100


@pytest.mark.integration
def test_receipt_and_full_list_leave_out_what_is_there(both: Sides) -> None:
    """A receipt, and the full list of an index, serve as the token does."""
    both.bundle()
    loaded = both.load()
    full = both.stick / "full"
    full.write_text("".join(f"{line}\n" for line in tokens.listed(both.far.spec, both.far.index)))
    digests = set(package_files(both.near).values())
    assert loaded.receipt is not None
    assert since(both, str(loaded.receipt)) == digests
    assert since(both, str(full)) >= digests
    subprocess.run(["sha256sum", "--check", "--strict", full], check=True, cwd=both.far.packages)


UNKNOWN = tokens.make(["0123456789abcdef"])
CARRY = "carry the output of `pyindex state --full` here, and pass its file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (UNKNOWN, f"{UNKNOWN}: names no bundle that was made here; {CARRY}"),
        (
            f"{UNKNOWN[:-1]}x",
            f"{UNKNOWN[:-1]}x: no such file, and not a token; copy the line that `pyindex state`"
            " prints",
        ),
        ("list", f"list:2: no line of `pyindex state --full`; {CARRY}"),
        ("receipt", "receipt: not a receipt; delete it, or restore it"),
    ],
)
def test_since_explains(
    both: Sides, text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token, list or receipt that says nothing is an error with what to carry."""
    monkeypatch.chdir(tmp_path)
    Path("list").write_text(f"{'0' * 64}  a\nb\n")
    Path("receipt").write_text('{"format": "pyindex-receipt"}')
    with pytest.raises(PyindexError) as error:
        since(both, text)
    assert str(error.value) == message


def test_left_out_file_that_is_missing_is_an_error(both: Sides) -> None:
    """A bundle whose left out files the index lacks is refused as a whole."""
    both.near.once()
    with both.near.catalog.read() as reader:
        (file,) = [each for each in reader.files_after(both.near.index) if each.filename == P0]
    both.bundle(known={file.sha256})
    before = seen(both.far)
    with pytest.raises(PyindexError) as error:
        both.load()
    assert str(error.value) == (
        f"index main: lacks files that the bundle leaves out: {P0}; bundle with `--since` and the"
        " output of `pyindex state --full`, or without `--since`"
    )
    assert seen(both.far) == before


# --- decisions ------------------------------------------------------------------------------------


def test_later_bundle_changes_decisions_of_earlier(both: Sides) -> None:
    """What a bundle decided, a later one changes; what was decided here stays."""
    near, far = both.near, both.far
    near.once()
    for name in (P0, P1):
        yank(near.spec, near.index, name, "first")
    set_status(near.spec, near.index, "p0", "deprecated", None)
    set_status(near.spec, near.index, "p1", "quarantined", "bad")
    set_status(near.spec, near.index, "p1", "active", None)
    both.bundle()
    both.load()
    yank(far.spec, far.index, P0, None)
    set_status(far.spec, far.index, "p2", "archived", "here")

    yank(near.spec, near.index, P0, "second")
    yank(near.spec, near.index, P1, None)
    set_status(near.spec, near.index, "p0", "active", None)
    set_status(near.spec, near.index, "p2", "quarantined", "bad")
    both.bundle("later.tar")
    assert both.load(both.stick / "later.tar").decisions == 2
    assert yanks(far) == {}
    assert status(far, "p0") == ("active", None)
    assert status(far, "p2") == ("archived", "here")


@pytest.mark.integration
def test_quarantine_travels_without_the_files(both: Sides) -> None:
    """Files of a quarantined project are not bundled; its status reaches the other index."""
    both.bundle()
    both.load()
    set_status(both.near.spec, both.near.index, "p0", "quarantined", "malware")
    both.bundle("later.tar")
    both.load(both.stick / "later.tar")
    assert status(both.far, "p0") == ("quarantined", "malware")
    assert both.far.files("p0") == []


def test_receipts_are_listed(both: Sides) -> None:
    """Each load that changed something has one receipt."""
    both.bundle()
    loaded = both.load()
    (row,) = listing(both.far.spec.state)
    assert (row["bundle"], row["new"], row["path"]) == (loaded.bundle, 5, str(loaded.receipt))


@pytest.mark.integration
def test_interrupted_load_continues(both: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that was interrupted copies only what it had not copied."""
    from appliance.bundle.read import Bundle

    copied: list[str] = []
    original = Bundle.copy

    def copy(self: Bundle, file: object, descriptor: int) -> str:
        copied.append(file.path)  # type: ignore[attr-defined]
        if len(copied) == 3:
            raise KeyboardInterrupt
        return original(self, file, descriptor)  # type: ignore[arg-type]

    monkeypatch.setattr(Bundle, "copy", copy)
    both.bundle()
    with pytest.raises(KeyboardInterrupt):
        both.load()
    both.load()
    assert len(copied) == 6
    agree(both.far)


# --- directories of files -------------------------------------------------------------------------


def test_directory_of_files_is_loaded(both: Sides) -> None:
    """Package files of a directory are loaded with paths and times; other files are left out."""
    (both.near.packages / "README.txt").write_text("text")
    (both.near.packages / "index.html").write_text("<html>")
    loaded = both.load(both.near.packages)
    assert len(loaded.new) == 5
    agree(both.far)
    assert both.far.served("sub/q-1.0.tar.gz.asc")
    assert both.load(both.near.packages).new == []


@pytest.mark.integration
def test_directory_changes_no_decision(both: Sides) -> None:
    """Files of a directory leave the yanks that a bundle brought."""
    both.near.once()
    yank(both.near.spec, both.near.index, P0, "bad")
    both.bundle()
    both.load()
    both.load(both.near.packages)
    assert yanks(both.far) == {P0: "bad"}


def test_furnishing_has_long_path(tmp_path: Path) -> None:
    """The files of these tests include a path that does not fit into a tar header."""
    lab = Lab(tmp_path)
    furnish(lab)
    assert max(map(len, package_files(lab))) > 100
