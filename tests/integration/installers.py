"""Installation with each client, by one function of the same signature."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.integration.clients import Environment


def install(
    client: str,
    environment: Environment,
    url: str,
    *requirements: str,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Environment:
    """Install *requirements* with *client* from the index at *url* (its ``/simple/``), with more
    environment variables.

    Return the environment that has them.
    """
    tool = client.partition("-")[0]
    return {"pip": _pip, "uv": _uv, "poetry": _poetry, "easy_install": _easy_install}[tool](
        environment, url, requirements, variables
    )


def _pip(
    environment: Environment, url: str, requirements: tuple[str, ...], variables: Mapping[str, str]
) -> Environment:
    environment.run("-m", "pip", "install", "--index-url", url, *requirements, variables=variables)
    return environment


def _easy_install(
    environment: Environment, url: str, requirements: tuple[str, ...], variables: Mapping[str, str]
) -> Environment:
    environment.run("-m", "easy_install", "--index-url", url, *requirements, variables=variables)
    return environment


def _uv(
    environment: Environment, url: str, requirements: tuple[str, ...], variables: Mapping[str, str]
) -> Environment:
    environment.run(
        *("-m", "uv", "pip", "install", "--python", environment.python),
        *("--default-index", url, *requirements),
        variables=variables,
    )
    return environment


def _poetry(
    environment: Environment, url: str, requirements: tuple[str, ...], variables: Mapping[str, str]
) -> Environment:
    project = environment.home / "project"
    project.mkdir()
    _poetry_project(project, url, requirements)
    environment.run(
        *("-m", "poetry", "install", "--no-root", "--no-interaction"),
        cwd=project,
        variables={"POETRY_VIRTUALENVS_IN_PROJECT": "true", **variables},
    )
    return Environment(project / ".venv", environment.home)


def _poetry_project(project: Path, url: str, requirements: tuple[str, ...]) -> None:
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    (project / "pyproject.toml").write_text(
        "[project]\n"
        'name = "consumer"\nversion = "1"\nrequires-python = ">=3.11,<3.12"\n'
        f"dependencies = [{listed}]\n"
        "[[tool.poetry.source]]\n"
        f'name = "index"\nurl = "{url}"\npriority = "primary"\n'
    )
