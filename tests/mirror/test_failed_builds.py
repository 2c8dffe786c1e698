"""Builds of `pyindex mirror` that fail or are refused; secrets that a build does not see."""

import hashlib
import sys
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.mirror import building
from appliance.mirror.git import access_variables, parse
from tests.integration.servers import Server
from tests.mirror.projects import NATIVE, commit, write_project, write_sdist
from tests.mirror.test_builds import HERE, builds, run, write
from tests.mirror.test_mirror import LIB, LINUX, WINDOWS, names

# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.integration
def test_native_wheel_fits_targets_like_this_machine(
    tmp_path: Path, packages: Path, upstream: Server, trace: Path
) -> None:
    """A wheel for this machine is taken for it, and for no target with another system or an older
    C library; the error names both."""
    project = write_project(tmp_path / "mine", "mine", trace, tag=NATIVE)
    minor = sys.version_info[1]
    older = f"cp3{minor}-manylinux_2_17_x86_64"
    document = run(packages, upstream, f"{project}\n", targets=[HERE, WINDOWS, older], code=1)
    assert names(packages) == {f"mine-1.0-{NATIVE}.whl"}
    reasons = {each["target"]: each["reason"] for each in document["unsolved"]}
    assert reasons.keys() == {WINDOWS, older}
    for target, reason in reasons.items():
        assert reason.startswith(f"mine-1.0-{NATIVE}.whl: built by cp3{minor} on ")
        assert f"and does not fit target {target};" in reason
    installs = {proof["target"]: proof["installs"] for proof in document["proofs"]}
    assert installs[HERE] and not installs[WINDOWS]


FAILURES = {
    "print('one')\nraise SystemExit('no compiler')": "no compiler",
    "import signal, os\nos.kill(os.getpid(), signal.SIGKILL)": "build of mine: exit code ",
}


@pytest.mark.integration
@pytest.mark.parametrize("first", FAILURES)
def test_failed_build_says_why(
    first: str, tmp_path: Path, packages: Path, upstream: Server, trace: Path
) -> None:
    """A build that fails has its last lines in the reason, and stops nothing else."""
    project = write_project(tmp_path / "mine", "mine", trace, first=first)
    document = run(packages, upstream, f"{project}\n", "lib", code=1)
    (unsolved,) = document["unsolved"]
    assert "build of mine: exit code" in unsolved["reason"]
    assert FAILURES[first] in unsolved["reason"]
    assert names(packages) == {LIB}


@pytest.mark.integration
def test_build_has_a_time_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packages: Path, upstream: Server, trace: Path
) -> None:
    """A build that does not end is killed, with the processes that it started."""
    monkeypatch.setattr(building, "_SECONDS", 3.0)
    pid = tmp_path / "pid"
    first = f"""
    import pathlib, subprocess
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path({str(pid)!r}).write_text(str(child.pid))
    time.sleep(600)
    """
    project = write_project(tmp_path / "mine", "mine", trace, first=first)
    document = run(packages, upstream, f"{project}\n", code=1)
    assert "build of mine: not done after 3 s" in document["unsolved"][0]["reason"]
    stat = Path("/proc", pid.read_text(), "stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


REFUSED = {
    "hg+https://hg.example/r#egg=mine": "hg+https://hg.example/r#...: hg is not supported; use Git",
    "git+ssh://git@git.example/mine": (
        "git+ssh://...@git.example/mine: git over ssh is not supported; use https, http or file"
    ),
    "mine @ https://git.example/archive/main.zip": (
        "https://git.example/archive/main.zip: neither a directory nor a Git repository; write"
        " NAME @ git+https://HOST/PATH"
    ),
    "git+file:///nowhere/mine": "git ls-remote file:///nowhere/mine: exit code 128",
    "git+file://{project}@nope": "no branch or tag 'nope'; correct it, or write all"
    " digits of a commit",
    "git+file://{project}#subdirectory=../x": "subdirectory outside of it; correct it",
    "git+file://{project}#subdirectory=x": "has no directory x; correct `subdirectory`",
    "-e ./nowhere/mine": "nowhere/mine: not a directory; correct the path, or pass a package file",
    "mine @ file://{other}": (
        "build of mine: made theirs-1.0-py3-none-any.whl, a wheel of theirs; write `theirs @ URL`"
        " in the input, and pass --build theirs"
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_built_is_named(
    line: str, tmp_path: Path, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """Other systems, places that are not there, and a wheel of another project are refused."""
    commit(project)
    other = write_project(tmp_path / "other", "theirs", trace)
    document = run(packages, upstream, f"{line.format(project=project, other=other)}\n", code=1)
    (unsolved,) = document["unsolved"]
    assert REFUSED[line] in unsolved["reason"]
    assert unsolved["reason"].startswith(f"{packages.parent}/requirements.txt:1: ")
    assert names(packages) == set()
    assert not any(proof["installs"] for proof in document["proofs"])


def test_unnamed_project_is_refused(
    packages: Path, upstream: Server, project: Path, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its name nothing is built; the error has the option to pass."""
    path = write(packages, f"{project}\n")
    where = ["-d", str(packages), "--state", str(packages.parent / "state")]
    command = ["mirror", path, "--target", LINUX, *where, "--index-url", f"{upstream.url}/simple/"]
    assert main([*command, "--build", "other"]) == 1
    expected = f"{path}:1: '{project}' names a directory, which must be built; replace it by a"
    assert f"{expected} wheel, or mirror it with --build mine" in capsys.readouterr().err
    assert main([*command, "--build", "../x"]) == 1
    assert "--build '../x': not the name of a project; correct it" in capsys.readouterr().err
    assert builds(trace) == 0


def test_digest_of_an_sdist_excludes_its_build(
    tmp_path: Path, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """An input that demands the digest of the sdist cannot get a wheel; the error says so."""
    links = tmp_path / "links"
    links.mkdir()
    sdist = write_sdist(links, project, "mine")
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    text = f"\n{sdist} --hash=sha256:{digest}\n"
    document = run(packages, upstream, text, code=1)
    assert document["unsolved"][0]["reason"].endswith(
        "requirements.txt:2: demands the digest of mine-1.0.tar.gz, which no wheel built from it"
        " has; leave out --build mine"
    )
    assert builds(trace) == 0


@pytest.mark.integration
def test_build_sees_no_secret(
    monkeypatch: pytest.MonkeyPatch, packages: Path, upstream: Server, project: Path, trace: Path
) -> None:
    """A build has HOME, PATH and what names the upstreams, and nothing else of our environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("PYTHONPATH", "/x")
    run(packages, upstream, f"{project}\n")
    seen = set(trace.read_text().split())
    ours = {"HOME", "PATH", "NETRC", "SOURCE_DATE_EPOCH", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"}
    theirs = {
        name for name in seen if name.startswith(("UV", "SSL_", "VIRTUAL_ENV", "HTTP", "http"))
    }
    assert seen - ours - theirs <= {"NO_PROXY", "no_proxy", "PYTHONIOENCODING"}


def test_login_of_a_repository_is_in_no_argument() -> None:
    """Git gets a login by its environment, and origins and messages have none."""
    repository = parse("git+https://me:s3cret@git.example/r@v1#subdirectory=a")
    assert "s3cret" not in repr(repository) + repository.origin("0" * 40) + repository.url
    access = access_variables(repository)
    assert access["GIT_CONFIG_KEY_0"] == "url.https://me:s3cret@git.example/r.insteadOf"
    assert access["GIT_CONFIG_VALUE_0"] == "https://git.example/r"
    assert access["GIT_ALLOW_PROTOCOL"] == "http:https"
