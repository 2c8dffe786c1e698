"""Publication of several indexes: which one answers for a project."""

import json
from pathlib import Path

import pytest
import yaml

from appliance import spec
from appliance.errors import NotFound
from appliance.operations import decisions
from appliance.operations.update import update
from tests.dist import make_wheel


def two_indexes(tmp_path: Path, bases: str = "[main]") -> spec.Spec:
    for name in ("main", "staging"):
        (tmp_path / name).mkdir(exist_ok=True)
    path = tmp_path / "pyindex.yml"
    path.write_text(
        f"state: {tmp_path}/state\n"
        "indexes:\n"
        f"  main: {{packages: {tmp_path}/main}}\n"
        f"  staging: {{packages: {tmp_path}/staging, bases: {bases}}}\n"
    )
    assert yaml.safe_load(path.read_text())
    return spec.load(path)


def names_on(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line.split(">")[1][:-3] for line in path.read_text().splitlines() if "<a " in line]


def test_first_index_of_lineage_answers_for_project(tmp_path: Path) -> None:
    """The first index of a lineage that has a project answers for it without its bases."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "common", "1.0")
    make_wheel(tmp_path / "main", "ours", "9.0")
    of_index = make_wheel(tmp_path / "staging", "ours", "1.0")
    update(both)
    www = both.www
    assert names_on(www / "staging/simple/ours/index.html") == [of_index.name]
    assert names_on(www / "staging/simple/common/index.html") == ["common-1.0-py2.py3-none-any.whl"]
    assert names_on(www / "simple/ours/index.html") == ["ours-9.0-py2.py3-none-any.whl"]
    assert names_on(www / "staging/simple/index.html") == ["common", "ours"]
    assert 'href="/packages/common-1.0' in (www / "staging/simple/common/index.html").read_text()

    of_index.unlink()
    update(both)
    assert names_on(www / "staging/simple/ours/index.html") == ["ours-9.0-py2.py3-none-any.whl"]
    (tmp_path / "main" / "ours-9.0-py2.py3-none-any.whl").unlink()
    update(both)
    assert not (www / "staging/simple/ours").exists()


def staged(both: spec.Spec) -> tuple[list[str] | None, int]:
    """Return files and serial of the project "ours" on its page in the index staging."""
    page = both.www / "staging/simple/ours/index.json"
    if not page.exists():
        return None, 0
    data = json.loads(page.read_text())
    return [file["filename"] for file in data["files"]], data["meta"]["_last-serial"]


def test_rejected_file_claims_project(tmp_path: Path) -> None:
    """A rejected file claims its project, so no base answers for it and serials never decrease."""
    both = two_indexes(tmp_path)
    of_base = make_wheel(tmp_path / "main", "ours", "9.0")
    of_index = tmp_path / "staging" / "ours-1.0-py2.py3-none-any.whl"
    serials = [0]
    for content, shown in (
        (b"half", []),
        (make_wheel(tmp_path, "ours", "1.0").read_bytes(), [of_index.name]),
        (b"", []),
        (None, [of_base.name]),
    ):
        of_index.unlink(missing_ok=True) if content is None else of_index.write_bytes(content)
        update(both)
        files, serial = staged(both)
        assert files == shown
        serials.append(serial)
        listed = json.loads((both.www / "staging/simple/index.json").read_text())["projects"]
        assert [each["_last-serial"] for each in listed] == [serial]
    assert serials == sorted(set(serials))


def test_remove_reports_base_that_answers(tmp_path: Path) -> None:
    """Removing the last file of a project reports the base that answers for it then."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "ours", "9.0")
    make_wheel(tmp_path / "staging", "ours", "1.0")
    update(both)
    removed = [file for file, _ in decisions.remove(both, "staging", "ours==1.0")]
    assert list(decisions.answers_after_removal(both, "staging", removed)) == [
        "ours: no files remain in staging, so its base main answers; to keep the name, run"
        " `pyindex status-set --index staging ours archived`"
    ]
    assert staged(both)[0] == ["ours-9.0-py2.py3-none-any.whl"]
    decisions.set_status(both, "staging", "ours", "archived", None)
    assert staged(both)[0] == []


def test_decision_names_index_of_project(tmp_path: Path) -> None:
    """A decision about a project of a base fails and names the base."""
    both = two_indexes(tmp_path)
    make_wheel(tmp_path / "main", "ours", "9.0")
    update(both)
    with pytest.raises(NotFound) as caught:
        decisions.yank(both, "staging", "ours==9.0", "")
    message = "index staging: project 'ours' not found; found in main, pass --index main"
    assert str(caught.value) == message


def test_changed_spec_rewrites_pages(tmp_path: Path) -> None:
    """An update after a change of the spec removes the projects of a former base."""
    update(two_indexes(tmp_path))
    make_wheel(tmp_path / "main", "common", "1.0")
    update(two_indexes(tmp_path))
    alone = two_indexes(tmp_path, "[]")
    assert (alone.www / "staging/simple/common").exists()
    update(alone)
    assert not (alone.www / "staging/simple/common").exists()
    assert names_on(alone.www / "staging/simple/index.html") == []
