"""Rewriting of locks: what changes, what stays, and the way back."""

import json
import re
import shutil
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.errors import PyindexError
from appliance.inputs import rewrite
from appliance.inputs.rewrite import Index
from tests.conftest import Lab
from tests.dist import make_wheel
from tests.inputs.fixtures import DATA

URL = "https://pypi.lab.example/team"
INDEX = Index(URL)
LOCKS = ("uv/uv.lock", "uv/pylock.toml", "poetry/poetry.lock", "workspace/uv.lock")


def copy(name: str, directory: Path) -> Path:
    return Path(shutil.copy(DATA / name, directory / Path(name).name))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", LOCKS)
def test_way_back_gives_same_bytes(name: str, line_end: str, tmp_path: Path) -> None:
    """A rewritten lock has no URL of another index, and the way back gives the same bytes."""
    path = copy(name, tmp_path)
    before = path.read_bytes().replace(b"\n", line_end.encode())
    path.write_bytes(before)

    rewritten = rewrite.rewrite(path, INDEX)
    rewrite.write(path, path, rewritten)
    assert b"index.example" not in path.read_bytes()
    assert path.read_bytes().count(line_end.encode()) == before.count(line_end.encode())

    rewrite.write_restored(path, path, rewrite.restore(path))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


REQUIREMENTS = """\
# é https://docs.example/why
-i https://a.example/simple/
--extra-index-url=https://b.example/root/+simple
--find-links https://files.example/links/
foo==1.0 --hash=sha256:00 # from https://a.example/simple/foo/
bar @ https://files.example/ab/cd/bar-1.0%2Bcpu-py3-none-any.whl#sha256=00 ; os_name == 'nt'
https://files.example/baz-1.tar.gz
qux @ git+https://git.example/qux-1.0.tar.gz
"""
REWRITTEN = f"""\
# é https://docs.example/why
-i {URL}/simple/
--extra-index-url={URL}/simple/
--find-links https://files.example/links/
foo==1.0 --hash=sha256:00 # from https://a.example/simple/foo/
bar @ {URL}/packages/bar-1.0%2Bcpu-py3-none-any.whl#sha256=00 ; os_name == 'nt'
{URL}/packages/baz-1.tar.gz
qux @ git+https://git.example/qux-1.0.tar.gz
"""


def test_requirements_keep_all_but_urls(tmp_path: Path) -> None:
    """In a requirements file only the URLs of indexes and of package files change."""
    path = tmp_path / "requirements.txt"
    path.write_text(REQUIREMENTS)
    rewritten = rewrite.rewrite(path, INDEX)
    assert rewritten.text.encode("latin-1").decode() == REWRITTEN
    assert rewritten.unknown == ("bar-1.0+cpu-py3-none-any.whl", "baz-1.tar.gz")

    rewrite.write(path, path, rewritten)
    assert rewrite.restore(path).encode("latin-1").decode() == REQUIREMENTS


def test_second_rewriting_keeps_first_origin(tmp_path: Path) -> None:
    """A lock that is rewritten twice goes back to where it was before the first time."""
    path = copy("uv/uv.lock", tmp_path)
    before = path.read_text()
    for url in (URL, URL, "https://other.example"):
        rewrite.write(path, path, rewrite.rewrite(path, Index(url)))
    assert "https://other.example/packages/click" in path.read_text()
    assert URL not in path.read_text()
    assert rewrite.restore(path) == before


def test_mode_of_lock_stays(tmp_path: Path) -> None:
    """A lock that other users cannot read, since its index has a password, stays so."""
    path = copy("uv/uv.lock", tmp_path)
    path.chmod(0o600)
    rewrite.write(path, path, rewrite.rewrite(path, INDEX))
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == {"uv.lock": 0o600, "uv.lock.pyindex-origin": 0o600}


def test_lock_without_urls_has_no_origin_file(tmp_path: Path) -> None:
    """A lock in which nothing is replaced stays, and gets no origin file."""
    path = tmp_path / "requirements.txt"
    path.write_text("foo==1\n")
    rewrite.write(path, path, rewrite.rewrite(path, INDEX))
    assert [each.name for each in tmp_path.iterdir()] == ["requirements.txt"]
    assert path.read_text() == "foo==1\n"


def test_lock_that_changed_is_restored_by_url(tmp_path: Path) -> None:
    """A lock that its tool wrote again is restored, if each of its URLs was one other."""
    path = copy("uv/uv.lock", tmp_path)
    before = path.read_text()
    rewrite.write(path, path, rewrite.rewrite(path, INDEX))
    path.write_text(path.read_text() + "# more\n")
    assert rewrite.restore(path) == before + "# more\n"


def test_ambiguous_change_is_error(tmp_path: Path) -> None:
    """A lock that changed, and whose two indexes became one, is an error."""
    path = tmp_path / "requirements.txt"
    path.write_text(REQUIREMENTS)
    rewrite.write(path, path, rewrite.rewrite(path, INDEX))
    path.write_text(path.read_text() + "more\n")
    with pytest.raises(PyindexError) as raised:
        rewrite.restore(path)
    assert str(raised.value) == (
        f"{path}: changed since it was rewritten, and {URL}/simple/ was more than one URL; restore"
        " the lock from version control"
    )


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "", "replacements": [1]}'])
def test_damaged_origin_file_is_error(content: str, tmp_path: Path) -> None:
    """A damaged origin file is an error, and the lock stays."""
    path = copy("uv/uv.lock", tmp_path)
    rewrite.origin_path(path).write_text(content)
    with pytest.raises(PyindexError) as raised:
        rewrite.restore(path)
    assert str(raised.value) == (
        f"{path}.pyindex-origin: damaged; restore the lock from version control, and delete this"
        " file"
    )


def test_command_takes_paths_from_catalog(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an index at hand, a file has the URL of its path in the packages directory."""
    (lab.packages / "sub dir").mkdir()
    make_wheel(lab.packages / "sub dir", "click", "8.1.8")
    lab.once()
    path = copy("uv/uv.lock", tmp_path)
    source = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
    arguments = ["lock", "rewrite", str(path), *source, "--to", f"{URL}/simple/"]
    assert main([*arguments, "--json", "-o", str(tmp_path / "out.lock")]) == 0

    (result,) = json.loads(capsys.readouterr().out)
    assert (result["replaced"], len(result["unknown"])) == (35, 16)
    assert (result["searched"], result["packages"]) == (True, f"{URL}/packages/")
    assert f"{URL}/packages/sub%20dir/click-8.1.8-" in (tmp_path / "out.lock").read_text()
    assert path.read_bytes() == (DATA / "uv/uv.lock").read_bytes()

    assert main(["lock", "rewrite", "--back", str(tmp_path / "out.lock")]) == 0
    assert (tmp_path / "out.lock").read_bytes() == path.read_bytes()


def test_files_that_are_not_in_the_index_are_named(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files that the index lacks are said to be so, with the form of their URLs."""
    lab.once()
    path = copy("uv/uv.lock", tmp_path)
    source = ["-d", str(lab.packages), "--state", str(lab.spec.state)]
    assert main(["lock", "rewrite", str(path), *source, "--to", URL]) == 0
    out = capsys.readouterr().out
    assert re.search(r"; not found in the index: \d+ files \(.*, \.\.\.\); their URLs are ", out)
    assert out.endswith(f" {URL}/packages/NAME\n")


WRONG = {
    "requirements.txt --back": "requirements.txt.pyindex-origin not found; restore the lock",
    "pyproject.toml --to https://x.example": "cannot rewrite a pyproject.toml; pass one of",
    "requirements.txt --to x": "expected a URL for --to, got 'x'",
    "requirements.txt --to https://x.example --back": "got --to and --back; pass only one of them",
    "requirements.txt pyproject.toml -o x --back": "got -o and more than one LOCK; pass only one",
    "requirements.txt --to https://x.example --index a": "got --index and no spec; add the name",
    "missing --to https://x.example": "missing: not found; correct the path",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_use_is_error(
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong options and files are errors that say what to do."""
    monkeypatch.chdir(tmp_path)
    Path("requirements.txt").write_text("foo\n")
    Path("pyproject.toml").write_text("[project]\n")
    assert main(["lock", "rewrite", *arguments.split()]) in (1, 2)
    assert WRONG[arguments] in capsys.readouterr().err
