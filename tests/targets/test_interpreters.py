"""Targets of real interpreters, compared with what pip or ``packaging`` finds in them."""

import json
import os
import subprocess
from pathlib import Path

import packaging
import pytest

from appliance.targets.reading import read
from tests.integration.clients import CLIENTS, build, interpreter

pytestmark = pytest.mark.integration

# The pip of an interpreter, or packaging of these tests where it runs, as the newest pip has it.
WITH_PIP = """
import json
from pip._internal.utils.compatibility_tags import get_supported
from pip._vendor.packaging.markers import default_environment
print(json.dumps([[str(tag) for tag in get_supported()], default_environment()]))
"""
WITH_PACKAGING = """
import json
from packaging.markers import default_environment
from packaging.tags import sys_tags
print(json.dumps([[str(tag) for tag in sys_tags()], default_environment()]))
"""
VERSIONS = ("2.7", *(f"3.{minor}" for minor in range(6, 16)))


def python(version: str) -> Path:
    """Return an interpreter, with the newest pip that supports it if that is not its own."""
    clients = {"2.7": "pip-20.3.4-py2.7", "3.6": "pip-21.3.1-py3.6"}
    if version in clients:
        return build(CLIENTS[clients[version]]) / "bin" / "python"
    return interpreter(version)


@pytest.mark.parametrize("version", VERSIONS)
def test_target_is_that_of_installed_client(version: str, tmp_path: Path) -> None:
    """A target that is asked or written has the tags, in this order, and the markers that a client
    finds in the interpreter."""
    path = python(version)
    is_new = int(version.partition(".")[2]) >= 10
    # A directory of packaging alone: nothing else of these tests is for that interpreter.
    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    done = subprocess.run(
        [path, "-c", WITH_PACKAGING if is_new else WITH_PIP],
        env={**os.environ, "PYTHONPATH": str(tmp_path) if is_new else ""},
        capture_output=True,
        text=True,
        check=True,
    )
    tags, environment = json.loads(done.stdout)

    asked = read(f"python:{path}")
    assert [str(tag) for tag in asked.tags] == tags
    assert asked.environment == environment
    patch = asked.python.rpartition(".")[2]
    written = read(f"{asked.interpreter}.{patch}-{asked.platform}")
    assert written.tags == asked.tags
    kernel = {"platform_release": "", "platform_version": ""}
    assert written.environment == {**environment, **kernel}
