"""``pyindex promote``: a release with its history, all files or none."""

import json
import os
from pathlib import Path

import pytest

from appliance import spec
from appliance.bundle import promotion
from appliance.bundle.promotion import promote
from appliance.catalog.database import Catalog
from appliance.cli import main
from appliance.errors import PyindexError
from appliance.index.model import Origin
from appliance.operations import decisions
from appliance.operations.update import update
from appliance.site.tree import Site
from appliance.spec import Spec
from tests.dist import make_sdist, make_wheel, uploaded

WHEEL, SDIST = "foo-1.0-py2.py3-none-any.whl", "foo-1.0.tar.gz"
TIME = "2020-02-02T02:02:02.500000Z"
POLICY = "policy: {types: [wheel, sdist], closed_after: 14d, sdists: one}"


@pytest.fixture
def staged(tmp_path: Path) -> Spec:
    """Spec with a release in staging: old, yanked, signed, with an origin; and another release."""
    for name in ("main", "staging"):
        (tmp_path / name).mkdir()
    path = tmp_path / "pyindex.yml"
    path.write_text(
        "state: state\nbackup: {directory: backups}\nindexes:\n"
        f"  main: {{packages: main, {POLICY}}}\n"
        "  staging: {packages: staging, bases: [main]}\n"
    )
    packages = tmp_path / "staging"
    uploaded(make_wheel(packages, "foo", "1.0"), TIME)
    (packages / "sub").mkdir()
    uploaded(make_sdist(packages / "sub", "foo", "1.0"), TIME)
    (packages / "sub" / f"{SDIST}.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    (packages / f"{WHEEL}.provenance").write_text('{"version": 1, "attestation_bundles": []}')
    make_wheel(packages, "foo", "2.0")
    given = spec.load(path)
    update(given)
    decisions.yank(given, "staging", WHEEL, "bad")
    with Catalog(given.catalog).read() as reader:
        file = reader.file("staging", SDIST)
    assert file is not None
    origin = Origin(SDIST, file.sha256, "https://files.example/x")
    decisions.decide(given, lambda change: change.set_origins("staging", [origin]))
    return given


def page(given: Spec, index: str) -> dict[str, dict[str, object]]:
    path = Site(given).simple(index) / "foo" / "index.json"
    if not path.exists():
        return {}
    return {file["filename"]: file for file in json.loads(path.read_bytes())["files"]}


def tree(given: Spec) -> set[str]:
    top = given.indexes["main"].packages
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def test_release_is_promoted_with_its_history(staged: Spec) -> None:
    """Files, signature, upload time, yank and origin arrive; nothing else does."""
    promoted = promote(staged, "Foo==1", "staging", "main")
    assert (sorted(promoted.new), promoted.files) == ([WHEEL, f"sub/{SDIST}"], 2)
    files = page(staged, "main")
    assert files.keys() == {WHEEL, SDIST}
    assert {file["upload-time"] for file in files.values()} == {TIME}
    assert (files[WHEEL]["yanked"], files[SDIST]["yanked"]) == ("bad", False)
    assert files[SDIST]["gpg-sig"] is True
    assert files[WHEEL]["provenance"]
    companions = {f"{WHEEL}.provenance", f"sub/{SDIST}.asc"}
    assert tree(staged) == {WHEEL, f"sub/{SDIST}"} | companions
    with Catalog(staged.catalog).read() as reader:
        assert reader.last_origins("main", [SDIST])[SDIST].url == "https://files.example/x"
        actions = [(each.action, each.detail) for each in reader.changes(0) if each.index == "main"]
    assert actions.count(("promoted", "staging")) == 2
    assert len(page(staged, "staging")) == 3


@pytest.mark.parametrize(("before", "after"), [(None, "alice"), ("bob", "bob")])
def test_owner_is_promoted_with_a_new_project(staged: Spec, before: str | None, after: str) -> None:
    """A new project belongs to its owner in the other index; a known owner stays."""
    with Catalog(staged.catalog).change() as change:
        change.take_ownership("staging", "foo", "alice")
        if before:
            change.take_ownership("main", "foo", before)
    promote(staged, "foo==1.0", "staging", "main")
    with Catalog(staged.catalog).read() as reader:
        assert reader.owner("main", "foo") == after


def test_files_are_copies(staged: Spec) -> None:
    """A change to a file of one index does not change that of the other."""
    promote(staged, "foo==1.0", "staging", "main")
    first, second = (staged.indexes[name].packages / WHEEL for name in ("main", "staging"))
    assert not first.samefile(second)


def test_repeated_promotion_changes_nothing(staged: Spec) -> None:
    """A second promotion adds nothing; a file that the target lacks again is added."""
    promote(staged, "foo==1.0", "staging", "main")
    with Catalog(staged.catalog).read() as reader:
        serial = reader.serial()
    assert promote(staged, "foo==1.0", "staging", "main").new == []
    with Catalog(staged.catalog).read() as reader:
        assert reader.serial() == serial
    decisions.remove(staged, "main", WHEEL)
    assert promote(staged, "foo==1.0", "staging", "main").new == [WHEEL]
    make_wheel(staged.indexes["staging"].packages, "foo", "1.0.0")
    update(staged)
    with pytest.raises(PyindexError, match=r"release 1\.0\.0 is closed since 2020-02-16"):
        promote(staged, "foo==1.0", "staging", "main")


def wrong_content(given: Spec) -> None:
    make_wheel(given.indexes["main"].packages, "foo", "1.0", summary="other")
    update(given)


def second_sdist(given: Spec) -> None:
    packages = given.indexes["staging"].packages
    content = (packages / "sub" / SDIST).read_bytes()
    (packages / "foo-1.0.tgz").write_bytes(content)
    update(given)


def used_name(given: Spec) -> None:
    wrong_content(given)
    decisions.remove(given, "main", WHEEL)


def quarantined(given: Spec) -> None:
    decisions.set_status(given, "staging", "foo", "quarantined", None)


def damaged(given: Spec) -> None:
    path = given.indexes["staging"].packages / WHEEL
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


REFUSED = [
    (wrong_content, "index main: has other content under the same names: foo-1.0-py2.py3-none"),
    (
        second_sdist,
        "release 1.0 has an sdist already: .* .`indexes.main.policy.sdists` in the spec",
    ),
    (used_name, f"{WHEEL}: This filename has already been used, use a different version: "),
    (quarantined, "index staging: foo is quarantined; not promoted"),
    (damaged, "not the content that the manifest has"),
]


@pytest.mark.parametrize(("prepare", "message"), REFUSED)
def test_refused_promotion_changes_nothing(staged: Spec, prepare: object, message: str) -> None:
    """If one file is refused, none is promoted, and nothing is left behind."""
    prepare(staged)  # type: ignore[operator]
    before = tree(staged)
    pages = page(staged, "main")
    with pytest.raises(PyindexError, match=message):
        promote(staged, "foo==1.0", "staging", "main")
    assert tree(staged) == before
    assert page(staged, "main") == pages
    assert not (staged.state / "loading.json").exists()


def test_kill_before_the_transaction_is_undone(
    staged: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that a killed promotion placed are taken away by the next command."""

    def kill(*_: object) -> None:
        os._exit(9)

    monkeypatch.setattr(promotion, "check_release", kill)
    if (child := os.fork()) == 0:
        promote(staged, "foo==1.0", "staging", "main")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert WHEEL in tree(staged)
    update(staged)
    assert not {WHEEL, f"sub/{SDIST}"} & tree(staged)
    assert page(staged, "main") == {}


WRONG = [
    (("foo", "9"), "project foo: release '9' not found; newest releases: 1.0, 2.0"),
    (("nix", "1"), "index staging: project 'nix' not found"),
    (("foo", "1", "--to", "staging"), "index staging: cannot promote to itself; choose another"),
    (("foo", "1", "--to", "nix"), "index 'nix' not found; the spec has main, staging"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_promotion_is_reported(
    staged: Spec, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    """Wrong names are reported with what there is."""
    spec_file = str(staged.state.parent / "pyindex.yml")
    command = ["promote", "-c", spec_file, "--from", "staging", "--to", "main", *words]
    assert main(command) == 1
    assert message in capsys.readouterr().err


def test_command_prints_new_files(staged: Spec, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints each new file, then that there is none."""
    spec_file = str(staged.state.parent / "pyindex.yml")
    command = ["promote", "foo", "1.0", "-c", spec_file, "--from", "staging", "--to", "main"]
    assert main(command) == 0
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"main: added {WHEEL}",
        f"main: added sub/{SDIST}",
        "main: has 2 files of this release already",
    ]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new"] == []
