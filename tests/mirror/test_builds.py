"""``pyindex mirror --build``: wheels of the projects that are named, and no code of others."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers import Server
from tests.mirror.projects import commit, file_server, git, write_project, write_sdist
from tests.mirror.test_mirror import LIB, LINUX, mirror, names

pytestmark = pytest.mark.integration  # each builds a wheel

HERE = f"python:{sys.executable}"
MINE = "mine-1.0-py3-none-any.whl"


NOTHING = "nothing built: no target needs it, the upstream has a wheel, or it failed"


def builds(trace: Path) -> int:
    return len(trace.read_text().splitlines()) if trace.exists() else 0


def write(packages: Path, text: str, name: str = "requirements.txt") -> str:
    path = packages.parent / name
    path.write_text(text)
    return str(path)


def run(packages: Path, upstream: Server, text: str, *words: str, **options: Any) -> dict[str, Any]:
    """Mirror a file of requirements with ``--build mine``."""
    return mirror(packages, upstream, write(packages, text), "--build", "mine", *words, **options)


# --- what is built --------------------------------------------------------------------------------

LINES = {
    "directory": "{project}",
    "editable": "-e {project}",
    "URL of a directory": "mine @ file://{project}",
    "branch": "mine @ git+file://{project}@main",
    "default branch": "git+file://{project}#egg=mine",
    "tag": "git+file://{project}@v1",
    "commit": "git+file://{project}@{commit}",
    "extras and a marker": "mine[x] @ git+file://{project} ; sys_platform == 'linux'",
}


@pytest.mark.parametrize("case", LINES)
def test_named_project_is_built_with_its_dependencies(
    case: str, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """A line that must be built becomes a wheel of the index, with what it requires."""
    head = commit(project, "v1")
    line = LINES[case].format(project=project, commit=head)
    document = run(packages, upstream, f"{line}\n", targets=[LINUX, "cp313-macosx_14_0_arm64"])
    wheels = {MINE, LIB}
    assert names(packages) == wheels
    assert [proof["installs"] for proof in document["proofs"]] == [True] * 4
    assert builds(trace) == 1


def test_marker_excludes_a_build(
    packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """A line that applies to no target is not built, and the report says so."""
    line = f"mine @ file://{project} ; sys_platform == 'win32'\n"
    document = run(packages, upstream, line)
    assert (names(packages), builds(trace)) == (set(), 0)
    assert document["notes"] == [f"--build mine: {NOTHING}"]


def test_project_below_a_repository_is_built(
    tmp_path: Path, packages: Path, upstream: Server, trace: Path
) -> None:
    """The fragment ``subdirectory`` names the project in a repository."""
    write_project(tmp_path / "all" / "a" / "b", "mine", trace)
    commit(tmp_path / "all")
    run(packages, upstream, f"git+file://{tmp_path}/all#egg=mine&subdirectory=a/b\n")
    assert names(packages) == {MINE}


def test_repository_is_cloned_over_http(
    tmp_path: Path, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """Git fetches over HTTP, and sends the login of the location, which no record keeps."""
    head = commit(project, "v1")
    site = tmp_path / "site"
    git(project, "clone", "--quiet", "--bare", str(project), str(site / "mine.git"))
    git(site / "mine.git", "update-server-info")
    with file_server(site, "me", "s3cret") as port:
        line = f"mine @ git+http://me:s3cret@127.0.0.1:{port}/mine.git@v1\n"
        run(packages, upstream, line)
        wrong = run(packages, upstream, line.replace("s3cret", "t3cret"), code=1)
    (record,) = (packages.parent / "state" / "builds").glob("*/build.json")
    origin = f"git+http://127.0.0.1:{port}/mine.git@{head}"
    assert json.loads(record.read_text())["origin"] == origin
    assert names(packages) == {MINE, LIB}
    assert "t3cret" not in json.dumps(wrong)


LOCKS = {
    "pylock.toml": (
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "mine"\n'
        'vcs = {{ type = "git", url = "file://{project}", commit-id = "{commit}" }}\n'
    ),
    "uv.lock": (
        'version = 1\nrequires-python = ">=3.8"\n[[package]]\nname = "app"\nversion = "1"\n'
        'source = {{ virtual = "." }}\ndependencies = [{{ name = "mine" }}]\n'
        '[[package]]\nname = "mine"\nversion = "1.0"\nsource = {{ directory = "mine" }}\n'
    ),
    "Pipfile.lock": (
        '{{"default": {{"mine": {{"git": "file://{project}", "ref": "{commit}"}}}}, "_meta":'
        ' {{"sources": []}}}}'
    ),
}


@pytest.mark.parametrize("name", LOCKS)
def test_package_of_a_lock_is_built(
    name: str, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """A repository or directory in a lock becomes a wheel, without its dependencies, which the
    lock has."""
    text = LOCKS[name].format(project=project, commit=commit(project))
    path = write(packages, text, name)
    document = mirror(packages, upstream, path, "--build", "mine")
    assert names(packages) == {MINE}
    assert all(proof["installs"] for proof in document["proofs"])


def test_sdist_without_a_wheel_is_built(
    tmp_path: Path, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """An sdist of a named project becomes a wheel, whose dependencies are those of the wheel; a
    named project with a wheel for the target is not built."""
    links = tmp_path / "links"
    links.mkdir()
    write_sdist(links, project, "mine")
    text = f"--find-links {links}\nmine\nnative\n"
    document = run(packages, upstream, text, "--build", "native")
    native = "native-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
    assert names(packages) == {MINE, LIB, native}
    assert document["complete"]
    assert document["notes"] == [f"--build native: {NOTHING}"]
    assert builds(trace) == 1


def test_no_code_of_other_projects_runs(
    tmp_path: Path, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """An sdist that is not named leaves no trace next to one that is, even as what builds it."""
    links = tmp_path / "links"
    links.mkdir()
    others = tmp_path / "others"
    write_sdist(links, project, "mine")
    for name in ("canary-a", "canary-b"):
        directory = write_project(
            tmp_path / name, name, others, first=f"open({str(others)!r}, 'a')"
        )
        write_sdist(links, directory, name)
    text = f"--find-links {links}\nmine\ncanary-a\n"
    run(packages, upstream, text)
    assert {MINE, "canary-a-1.0.tar.gz"} <= names(packages)
    assert (builds(trace), others.exists()) == (1, False)

    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("[]", '["canary-b"]', 1))
    document = run(packages, upstream, f"--find-links {links}\n{project}\n", code=1)
    (unsolved,) = document["unsolved"]
    assert "canary-b" in unsolved["reason"]
    assert (builds(trace), others.exists()) == (1, False)


# --- again ----------------------------------------------------------------------------------------


def test_same_sources_are_not_built_again(
    packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """A commit and the files of a directory are built once; a new commit, or a changed file, once
    more."""
    commit(project)
    for line in (f"git+file://{project}#egg=mine\n", f"{project}\n"):
        before = builds(trace)
        for _ in range(2):
            document = run(packages, upstream, line)
        assert (document["new"], builds(trace)) == ([], before + 1)
    git(project, "tag", "v9")  # which may be another version
    for line in (f"git+file://{project}#egg=mine\n", f"{project}\n"):
        before = builds(trace)
        run(packages, upstream, line)
        assert builds(trace) == before + 1
    (project / "mine" / "build").mkdir(parents=True)
    (project / "mine" / "build" / "data.py").write_text("x = 1\n")
    run(packages, upstream, f"{project}\n")
    assert builds(trace) == 5
    write_project(project, "mine", trace, version="1.1", requires=("lib>=1",))
    run(packages, upstream, f"{project}\n")
    run(packages, upstream, f"git+file://{project}#egg=mine\n")
    assert builds(trace) == 6  # the commit is the one of before
    write_project(project, "mine", trace, version="1.2", requires=("lib>=1",))
    commit(project)
    run(packages, upstream, f"git+file://{project}#egg=mine\n")
    assert builds(trace) == 7
    assert names(packages) == {LIB, *(MINE.replace("1.0", each) for each in ("1.0", "1.1", "1.2"))}
    write_project(project, "mine", trace, version="1.2")
    document = run(packages, upstream, f"{project}\n", code=1)
    other = MINE.replace("1.0", "1.2")
    what = f"{other}: the index has other content at {other}; give this one another version"
    assert [each["reason"] for each in document["failed"]] == [what]
    reasons = {each["reason"] for proof in document["proofs"] for each in proof["missing"]}
    assert reasons == {f"{other}: another content than the input names, by its digest"}


def test_build_is_repeated_to_the_byte(
    packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """Without its record a commit is built again, with the same bytes: times are those of the
    commit. A damaged wheel of a record is not used."""
    commit(project)
    run(packages, upstream, f"git+file://{project}#egg=mine\n")
    (record,) = (packages.parent / "state" / "builds").iterdir()
    (record / MINE).write_bytes(b"junk")
    document = run(packages, upstream, f"git+file://{project}#egg=mine\n")
    assert (document["new"], builds(trace)) == ([], 2)
    assert (record / MINE).read_bytes() == (packages / MINE).read_bytes()
    assert (packages / MINE).stat().st_mtime == commit_time(project)


def commit_time(project: Path) -> int:
    return int(git(project, "log", "-1", "--format=%ct"))
