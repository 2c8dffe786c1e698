"""Digests in requirements files: each client refuses what the proof for it refuses."""

import hashlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import spec
from appliance.inputs.reading import read
from appliance.operations.update import update
from appliance.resolution.local import open_source
from appliance.resolution.proof import Verdict, prove
from appliance.resolution.questions import question
from appliance.resolution.rules import FIRST_FOUND, PIP, UV, Rules
from appliance.spec import Spec
from appliance.targets import reading as targets
from benchmarks.ports import HOST, free_port
from tests.integration.clients import CLIENTS, build
from tests.integration.servers import PYINDEX
from tests.nginx.servers import listens, running
from tests.resolution.clients import UV as UV_PROGRAM
from tests.resolution.universe import Release, Scenario

pytestmark = pytest.mark.integration


def release(*requires: str, **more: object) -> Release:
    return Release(requires, None, **{"sdist": False, **more})  # type: ignore[arg-type]


RELEASES = {
    ("alone", "1.0"): release(),
    ("alone", "2.0"): release(),
    ("both", "1.0"): release(sdist=True),
    ("needs", "1.0"): release("alone"),
    ("wide", "1.0"): release("alone[x]>=1; python_version > '2'", extras={"x": ["both"]}),
    ("built", "1.0"): release(wheel=False, sdist=True, build=("alone",)),
}
# Names of cases with the lines of a requirements file; {algorithm:file} is a digest.
WHEEL, SDIST = "-1.0-py2.py3-none-any.whl", "-1.0.tar.gz"
ALONE = f"alone==1.0 --hash={{sha256:alone{WHEEL}}}"
NEEDS = f"needs==1.0 --hash={{sha256:needs{WHEEL}}}"
WRONG = f"--hash={{sha256:needs{WHEEL}}}"
CASES = {
    "all hashed": [NEEDS, ALONE],
    "dependency without": [NEEDS],
    "dependency not pinned": [NEEDS, f"alone<2 --hash={{sha256:alone{WHEEL}}}"],
    "neighbour without": [ALONE, "both==1.0"],
    "neighbour without, by marker": [f"{ALONE}", "both==1.0; python_version < '2'"],
    "hash by marker": [
        "alone==1.0", f"both==1.0; python_version < '2' --hash={{sha256:both{WHEEL}}}"
    ],
    "not pinned": [f"alone --hash={{sha256:alone{WHEEL}}}"],
    "pinned to a series": [f"alone==1.* --hash={{sha256:alone{WHEEL}}}"],
    "pinned and limited": [f"alone==1.0,>=0.5 --hash={{sha256:alone{WHEEL}}}"],
    "pinned by ===": [f"alone===1.0 --hash={{sha256:alone{WHEEL}}}"],
    "limited by a second line": [ALONE, f"alone>0.5 --hash={{sha256:alone{WHEEL}}}"],
    "limited by a first line": [f"alone>0.5 --hash={{sha256:alone{WHEEL}}}", ALONE],
    "required by option": ["--require-hashes", "alone==1.0"],
    "required by option, hashed": ["--require-hashes", ALONE],
    "required by option, dependency without": ["--require-hashes", NEEDS],
    "required by option, not pinned": [
        "--require-hashes", f"alone --hash={{sha256:alone{WHEEL}}}"
    ],
    "required by option, series": [
        "--require-hashes", f"alone==1.* --hash={{sha256:alone{WHEEL}}}"
    ],
    "required by option, ===": [
        "--require-hashes", f"alone===1.0 --hash={{sha256:alone{WHEEL}}}"
    ],
    "required by option, limited": [
        "--require-hashes", f"alone==1.0,>=0.5 --hash={{sha256:alone{WHEEL}}}"
    ],
    "required by option, constraint": ["--require-hashes", "-c constraints.txt", "alone==1.0"],
    "required by option, marker": ["--require-hashes", ALONE, "both; python_version < '2'"],
    "wrong by ===": [f"alone===1.0 {WRONG}"],
    "URL with digest": [NEEDS, f"alone @ {{url:alone{WHEEL}}}#{{url-sha256:alone{WHEEL}}}"],
    "URL with digest alone": [f"alone @ {{url:alone{WHEEL}}}#{{url-sha256:alone{WHEEL}}}", "both"],
    "URL without digest": [NEEDS, f"alone @ {{url:alone{WHEEL}}}"],
    "required by option, URL": ["--require-hashes", f"alone @ {{url:alone{WHEEL}}}"],
    "wrong": [f"alone==1.0 {WRONG}"],
    "wrong and right": [f"{ALONE} {WRONG}"],
    "wrong, not pinned": [f"alone {WRONG}"],
    "sha512": [f"alone==1.0 --hash={{sha512:alone{WHEEL}}}"],
    "sha384": [f"alone==1.0 --hash={{sha384:alone{WHEEL}}}"],
    "sha512 of another": [f"alone==1.0 --hash={{sha512:needs{WHEEL}}}"],
    "sha256 wrong, sha512 right": [f"alone==1.0 {WRONG} --hash={{sha512:alone{WHEEL}}}"],
    "sha256 right, sha512 wrong": [f"{ALONE} --hash={{sha512:needs{WHEEL}}}"],
    "sha256 of the sdist": [f"both==1.0 --hash={{sha256:both{SDIST}}}"],
    "sha512 of the sdist": [f"both==1.0 --hash={{sha512:both{SDIST}}}"],
    "sha512 of both files": [
        f"both==1.0 --hash={{sha512:both{SDIST}}} --hash={{sha512:both{WHEEL}}}"
    ],
    "sha512 of the wheel, sha256 of the sdist": [
        f"both==1.0 --hash={{sha256:both{SDIST}}} --hash={{sha512:both{WHEEL}}}"
    ],
    "constraint": ["-c constraints.txt", "alone==1.0"],
    "constraint, not pinned": ["-c constraints.txt", "alone"],
    "constraint, wrong": ["-c wrong.txt", "alone==1.0"],
    "constraint, wrong, hashed": ["-c wrong.txt", ALONE],
    "constraint, wrong, dependency": ["-c wrong.txt", "needs==1.0"],
    "required by option, constraint, dependency": [
        "--require-hashes", "-c constraints.txt", NEEDS
    ],
    "required by option, constraint and digest": [
        "--require-hashes", "-c constraints.txt", ALONE
    ],
    "required by option, constraint, wrong": ["--require-hashes", "-c wrong.txt", ALONE],
    "required by option, limit": ["--require-hashes", "-c limits.txt", ALONE],
    "required by option, limit of another": [
        "--require-hashes", "-c limits.txt", f"both==1.0 --hash={{sha256:both{WHEEL}}}"
    ],
    "limit of another": ["-c limits.txt", f"both==1.0 --hash={{sha256:both{WHEEL}}}"],
    "dependency by constraint": ["-c constraints.txt", NEEDS],
    "dependency with an extra": [
        f"wide==1.0 --hash={{sha256:wide{WHEEL}}}",
        ALONE,
        f"both==1.0 --hash={{sha256:both{WHEEL}}}",
    ],
    "extra without": [f"wide==1.0 --hash={{sha256:wide{WHEEL}}}", ALONE],
    "back-end of a build": [f"built==1.0 --hash={{sha256:built{SDIST}}}"],
    "none": ["needs"],
}  # fmt: skip


@dataclass(frozen=True)
class Served:
    spec: Spec
    url: str
    packages: Path

    def write(self, case: str, directory: Path) -> Path:
        """Write the requirements of a case, and its constraints."""
        texts = {"constraints": ALONE, "wrong": f"alone==1.0 {WRONG}", "limits": "alone<2"}
        for name, text in texts.items():
            (directory / f"{name}.txt").write_text(self._filled(text))
        path = directory / "requirements.txt"
        path.write_text("".join(f"{self._filled(line)}\n" for line in CASES[case]))
        return path

    def _filled(self, line: str) -> str:
        return re.sub(r"\{([\w-]+):([^}]+)\}", lambda m: self._hash(m[1], m[2]), line)

    def _hash(self, algorithm: str, filename: str) -> str:
        path = self.packages / filename
        if algorithm == "url":
            return path.as_uri()
        separator = "=" if algorithm.startswith("url-") else ":"
        name = algorithm.removeprefix("url-")
        return f"{name}{separator}{hashlib.new(name, path.read_bytes()).hexdigest()}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("hashes")
    path, port = root / "pyindex.yml", free_port()
    Scenario("hashes", RELEASES, ()).write(root / "packages")
    path.write_text("state: state\nindexes: {root: {packages: packages}}\n")
    loaded = spec.load(path)
    update(loaded)
    serve = [str(PYINDEX), "serve", "--spec", str(path), "--port", str(port)]
    with running(serve, root / "serve.log", lambda: listens(port)):
        yield Served(loaded, f"http://{HOST}:{port}/simple/", root / "packages")


def proof(served: Served, path: Path, rules: Rules, target: str) -> Verdict:
    with open_source(served.spec, "root") as source:
        return prove(question(read(path), targets.read(target)), source, rules)


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a client that knows no other index."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "PIP_CONFIG_FILE": "/dev/null"}
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


PIPS = {"pip-newest-py3.13": PIP, "pip-20.3.4-py2.7": FIRST_FOUND}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("client", PIPS)
def test_pip_agrees(client: str, case: str, served: Served, tmp_path: Path) -> None:
    """pip installs a file of requirements with digests exactly where its proof says so."""
    python = build(CLIENTS[client]) / "bin" / "python"
    path = served.write(case, tmp_path)
    command = [str(python), "-m", "pip", "install", "--index-url", served.url, "-r", path.name]
    done = run([*command, "--target", "there", "--no-cache-dir"], tmp_path)
    verdict = proof(served, path, PIPS[client], f"python:{python}")
    assert verdict.installs == (done.returncode == 0), (verdict.missing, done.stderr)


@pytest.mark.parametrize("case", CASES)
def test_uv_agrees(case: str, served: Served, tmp_path: Path) -> None:
    """uv installs a file of requirements with digests exactly where its proof says so."""
    python = build(CLIENTS["pip-newest-py3.13"]) / "bin" / "python"
    path = served.write(case, tmp_path)
    command = [str(UV_PROGRAM), "pip", "install", "--no-config", "--default-index", served.url]
    command += ["--python", str(python), "--target", "there", "-r", path.name]
    done = run(command, tmp_path)
    verdict = proof(served, path, UV, f"python:{python}")
    assert verdict.installs == (done.returncode == 0), (verdict.missing, done.stderr)
