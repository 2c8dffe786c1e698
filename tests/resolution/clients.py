"""Real clients that say whether an index satisfies requirements, without installing anything."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.integration.clients import CLIENTS, build
from tests.resolution.universe import Scenario

UV = Path(sys.executable).with_name("uv")
# In one process: a start of pip takes longer than its work here.
_PIP = """\
import json, os, sys
from pip._internal.cli.main import main
answers = {}
for name, arguments in json.load(open("questions")).items():
    report = os.path.abspath("report")
    open(report, "w").write('{"install": []}')
    options = ["--dry-run", "--ignore-installed", "-qqq", "--report", report]
    code = main(["install"] + options + arguments)
    installed = json.load(open(report))["install"] if code == 0 else []
    metadata = [each["metadata"] for each in installed]
    answers[name] = [code, {each["name"].lower(): each["version"] for each in metadata}]
json.dump(answers, open("answers", "w"))
"""


_OLD_PIP = """\
import json
from pip._internal.cli.main import main
answers = {}
for name, arguments in json.load(open("questions")).items():
    answers[name] = [main(["download", "-qqq", "--no-cache-dir", "-d", name] + arguments), {}]
json.dump(answers, open("answers", "w"))
"""


@dataclass(frozen=True)
class Answer:
    """Whether the client found a solution, and the versions in it."""

    is_satisfiable: bool
    versions: Mapping[str, str]
    output: str = ""


def uv(scenario: Scenario, url: str, python: Path, directory: Path) -> Answer:
    """Ask uv on the platform and Python that it runs on."""
    requirements = directory / "requirements.in"
    requirements.write_text("\n".join(scenario.requires))
    command = [UV, "pip", "compile", "--no-config", "--quiet", "--python", python]
    command += ["--no-annotate", "--no-header", "--default-index", url, *_options(scenario)]
    command += ["--prerelease", "allow"] if scenario.pre else []
    done = subprocess.run(
        [*map(str, command), str(requirements)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    pins = (line.split("==") for line in done.stdout.split() if "==" in line)
    return Answer(done.returncode == 0, dict(pins), done.stderr)


def pip(
    scenarios: Mapping[str, Scenario], urls: Mapping[str, str], python: Path, directory: Path
) -> dict[str, Answer]:
    """Ask pip, of the environment that *python* belongs to, about all scenarios."""
    return _ask(_PIP, scenarios, urls, python, directory)


def old_pip(
    scenarios: Mapping[str, Scenario], urls: Mapping[str, str], python: Path, directory: Path
) -> dict[str, Answer]:
    """Have a pip without dry runs download the files; the answers have no versions."""
    return _ask(_OLD_PIP, scenarios, urls, python, directory)


def _ask(
    program: str,
    scenarios: Mapping[str, Scenario],
    urls: Mapping[str, str],
    python: Path,
    directory: Path,
) -> dict[str, Answer]:
    questions = {
        name: ["--index-url", urls[name], *_options(each), *each.requires]
        for name, each in scenarios.items()
    }
    for name, each in scenarios.items():
        questions[name] += ["--pre"] * each.pre + ["--prefer-binary"] * each.prefer_binary
    (directory / "questions").write_text(json.dumps(questions))
    subprocess.run(
        [str(python), "-c", program],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "PIP_CONFIG_FILE": "/dev/null"},
        capture_output=True,
        timeout=600,
        check=True,
    )
    answers = json.loads((directory / "answers").read_text())
    return {name: Answer(code == 0, versions) for name, (code, versions) in answers.items()}


def newest_pip() -> Path:
    """Return the Python of an environment with the newest pip."""
    return build(CLIENTS["pip-newest-py3.13"]) / "bin" / "python"


def _options(scenario: Scenario) -> list[str]:
    options = [("--only-binary", name) for name in sorted(scenario.no_build)]
    options += [("--no-binary", name) for name in sorted(scenario.no_binary)]
    return [word for option in options for word in option]
