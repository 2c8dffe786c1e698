"""`pyindex client` writes settings with which each client installs from an index."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.dist import make_wheel
from tests.integration.clients import Environment, Environments
from tests.integration.servers import Server, embedded

pytestmark = pytest.mark.integration
PYINDEX = Path(sys.executable).with_name("pyindex")
PROJECT = (
    '[project]\nname = "consumer"\nversion = "1"\nrequires-python = ">=3.11,<3.12"\n'
    'dependencies = ["foo"]\n'
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Index of ``foo``, which requires ``bar``."""
    directory = tmp_path_factory.mktemp("settings")
    packages = directory / "packages"
    packages.mkdir()
    make_wheel(packages, "foo", "1.0", requires=["bar"])
    make_wheel(packages, "bar", "2.0")
    with embedded(packages, directory) as server:
        yield server


@dataclass(frozen=True)
class User:
    """User of a client, in the directory of a project."""

    environment: Environment
    project: Path

    def run(self, *arguments: str | Path) -> str:
        variables = {"POETRY_VIRTUALENVS_IN_PROJECT": "true", "PIP_TRUSTED_HOST": ""}
        variables |= {"PIP_CONFIG_FILE": ""}
        return self.environment.run(*arguments, cwd=self.project, variables=variables)

    def write(self, tool: str, url: str, *options: str) -> str:
        """Write the settings of a tool as this user."""
        done = subprocess.run(
            [PYINDEX, "client", tool, "--url", url, "--write", *options],
            cwd=self.project,
            env={"HOME": str(self.environment.home), "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


def pip(user: User) -> Path:
    assert "global.index-url" in user.run("-m", "pip", "config", "list")
    user.run("-m", "pip", "install", "foo")
    return user.environment.python


def uv(user: User) -> Path:
    user.run("-m", "uv", "pip", "install", "--python", user.environment.python, "foo")
    return user.environment.python


def poetry(user: User) -> Path:
    user.run("-m", "poetry", "install", "--no-root", "--no-interaction")
    return user.project / ".venv/bin/python"


def pdm(user: User) -> Path:
    user.run("-m", "pdm", "install", "--no-self")
    return user.project / ".venv/bin/python"


def conda(user: User) -> Path:
    """Install as conda does: it gives the pip section to pip as a file of requirements."""
    sections = yaml.safe_load((user.project / "environment.yml").read_text())["dependencies"]
    lines = next(each["pip"] for each in sections if isinstance(each, dict))
    (user.project / "requirements.txt").write_text("\n".join([*lines, "foo", ""]))
    user.run("-m", "pip", "install", "-r", "requirements.txt")
    return user.environment.python


TOOLS: list[tuple[str, str, Callable[[User], Path]]] = [
    ("pip", "pip-newest-py3.13", pip),
    ("uv", "uv", uv),
    ("poetry", "poetry", poetry),
    ("pdm", "pdm", pdm),
    ("conda", "pip-22.3.1-py3.11", conda),
]


@pytest.mark.parametrize(("tool", "client", "install"), TOOLS, ids=[tool for tool, *_ in TOOLS])
def test_client_installs_with_written_settings(
    index: Server,
    environments: Environments,
    tmp_path: Path,
    tool: str,
    client: str,
    install: Callable[[User], Path],
) -> None:
    """A client installs a project and its dependency with no other settings than the written."""
    user = User(environments(client), tmp_path / "project")
    user.project.mkdir()
    (user.project / "pyproject.toml").write_text(PROJECT)
    user.write(tool, index.url)
    python = install(user)
    Environment(python.parents[1], user.environment.home).run("-c", "import foo, bar")
