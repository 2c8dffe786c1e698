"""Private projects: no base answers for them."""

from pathlib import Path

import pytest

from appliance import spec
from appliance.operations.update import update
from appliance.spec import Spec
from tests.dist import make_wheel
from tests.site.test_views import shown, wheel

BASES = {"team": "main", "main": "public other", "public": "", "other": ""}


def loaded(root: Path, private: dict[str, str], bases: dict[str, str]) -> Spec:
    lines = [
        f"  {name}: {{packages: {name}, bases: [{', '.join(bases[name].split())}],"
        f" policy: {{private: [{private.get(name, '')}]}}}}\n"
        for name in bases
    ]
    path = root / "pyindex.yml"
    path.write_text("state: state\nbackup: {directory: backups}\nindexes:\n" + "".join(lines))
    return spec.load(path)


FOREIGN = [
    ({}, "team", "public", ()),
    ({"main": "acme-*"}, "main", "main", ()),
    ({"main": "acme-*"}, "main", "public", ("acme-*",)),
    ({"main": "acme-*"}, "team", "team", ()),
    ({"main": "acme-*"}, "team", "public", ("acme-*",)),
    ({"team": "x", "main": "ACME_*, y"}, "team", "public", ("x", "acme-*", "y")),
    ({"team": "x"}, "team", "main", ("x",)),
    ({"team": "x"}, "main", "public", ()),
    ({"other": "z"}, "main", "public", ("z",)),
    ({"other": "z"}, "main", "other", ()),
]


@pytest.mark.parametrize(("private", "view", "index", "patterns"), FOREIGN)
def test_private_names_are_foreign_to_bases(
    tmp_path: Path, private: dict[str, str], view: str, index: str, patterns: tuple[str, ...]
) -> None:
    """A name that is private to an index is foreign to the indexes that do not build on it."""
    assert loaded(tmp_path, private, BASES).foreign(view, index) == patterns


def test_base_does_not_answer_for_private_project(tmp_path: Path) -> None:
    """A private project of which the index has no file is absent, though a base has it; adding and
    removing the pattern rewrites the pages."""
    bases = {"main": "public", "public": ""}
    for name in bases:
        (tmp_path / name).mkdir()
    for name in ("acme-tool", "acme_lib", "pub"):
        make_wheel(tmp_path / "public", name, "9.0")
    make_wheel(tmp_path / "main", "acme-lib", "1.0")

    for private, names in (
        ("", {"acme-tool", "acme-lib", "pub"}),
        ("acme-*", {"acme-lib", "pub"}),
        ("acme-lib", {"acme-tool", "acme-lib", "pub"}),
        ("'*'", {"acme-lib"}),
    ):
        given = loaded(tmp_path, {"main": private}, bases)
        update(given)
        pages = shown(given, "main")
        assert pages is not None
        assert pages.keys() == names
        assert pages["acme-lib"] == [wheel("acme_lib", "1.0")]
        assert set(shown(given, "public") or ()) == {"acme-tool", "acme-lib", "pub"}
