"""The locks in ``tests/data/inputs``: ``python -m tests.inputs.fixtures TOOLS`` writes them again.

TOOLS is a directory with environments ``poetry``, ``poetry1`` (below 2), ``pdm`` and ``pipenv``,
as ``bin/<tool>`` in each; uv is that of this environment. The tools lock against a small index on
this machine, whose address is replaced by ``index.example``.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.dist import make_sdist, make_wheel
from tests.integration.servers import embedded

DATA = Path(__file__).parents[1] / "data" / "inputs"
UV = Path(sys.executable).with_name("uv")
ADDRESS = "https://index.example"
LOCKS = ("uv.lock", "pylock.toml", "tool.py.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")
# Name, version, Requires-Python, requirements.
RELEASES: tuple[tuple[str, str, str | None, list[str]], ...] = (
    ("click", "8.1.8", ">=3.7", ["colorama; platform_system == 'Windows'"]),
    ("colorama", "0.4.6", None, []),
    ("importlib-metadata", "8.7.0", ">=3.9", ["zipp>=3.20"]),
    ("zipp", "3.23.0", ">=3.9", []),
    ("pytest", "8.4.2", ">=3.9", ["iniconfig>=1", "tomli>=1; python_version < '3.11'"]),
    ("pytest", "9.0.1", ">=3.10", ["iniconfig>=2", "tomli>=1; python_version < '3.11'"]),
    ("iniconfig", "2.1.0", None, []),
    ("tomli", "2.3.0", ">=3.8", []),
    ("rich", "14.0.0", ">=3.8", ["pygments>=2", "speedup; sys_platform != 'win32'"]),
    ("pygments", "2.19.2", None, []),
    ("attrs", "22.2.0", None, []),
    ("attrs", "24.1.0", None, []),
    ("mistune", "3.0.2", None, []),
)
SPEEDUP = (
    "cp311-abi3-manylinux_2_17_x86_64",
    "cp311-cp311-win_amd64",
    "cp312-cp312-macosx_11_0_arm64",
)


def make_index(packages: Path) -> None:
    """Write the package files that the locks name."""
    for name, version, python, requires in RELEASES:
        make_wheel(packages, name, version, requires_python=python, requires=requires)
    path = make_wheel(packages, "speedup", "1.5")
    for tags in SPEEDUP:
        path.with_name(f"speedup-1.5-{tags}.whl").write_bytes(path.read_bytes())
    path.unlink()
    for name, version in (("speedup", "1.5"), ("mistune", "3.0.2")):
        sdist = make_sdist(packages, name, version)
        sdist.write_bytes(gzip.compress(gzip.decompress(sdist.read_bytes()), mtime=0))
    for each in packages.iterdir():
        os.utime(each, (1_525_176_000, 1_525_176_000))


COMMANDS: dict[str, list[list[str | Path]]] = {
    "uv": [
        [UV, "lock", "--python", "3.11"],
        [UV, "export", "--format", "pylock.toml", "--all-groups", "--quiet", "-o", "pylock.toml"],
    ],
    "workspace": [[UV, "lock", "--python", "3.11"]],
    "script": [[UV, "lock", "--python", "3.11", "--script", "tool.py"]],
    "poetry": [["poetry/bin/poetry", "lock", "--no-interaction"]],
    "poetry1": [["poetry1/bin/poetry", "lock", "--no-interaction"]],
    "pdm": [["pdm/bin/pdm", "lock", "--group", ":all"]],
    "pdm-plain": [["pdm/bin/pdm", "lock", "--group", ":all", "--strategy", "no_inherit_metadata"]],
    "pipenv": [
        ["pipenv/bin/pipenv", "lock"],
        ["pipenv/bin/pipenv", "lock", "--categories", "docs"],
    ],
}


def lock(name: str, tools: Path, url: str, scratch: Path) -> None:
    """Run a tool in a copy of its project, with the address of the running index; keep its lock."""
    project = shutil.copytree(DATA / name, scratch / name)
    for path in project.rglob("*"):
        if path.name in LOCKS:
            path.unlink()  # a tool keeps what its lock has
        elif path.is_file():
            path.write_text(path.read_text().replace(ADDRESS, url))
    for command in COMMANDS[name]:
        run(command, project, tools, url)
    for path in project.iterdir():
        if path.name in LOCKS:
            (DATA / name / path.name).write_text(path.read_text().replace(url, ADDRESS))


def run(command: list[str | Path], directory: Path, tools: Path, url: str) -> None:
    program = tools / command[0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": home,
            "LANG": "C.UTF-8",
            "UV_DEFAULT_INDEX": f"{url}/simple/",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_CONFIG": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIPENV_IGNORE_VIRTUALENVS": "1",
        }
        subprocess.run(
            [program, *command[1:]], cwd=directory, env=environment, check=True, timeout=300
        )


def main(tools: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        packages = Path(scratch) / "packages"
        packages.mkdir()
        make_index(packages)
        with embedded(packages, Path(scratch)) as server:
            for name in names or COMMANDS:
                lock(name, tools, server.url, Path(scratch))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
POETRY = '[metadata]\nlock-version = "2.1"\npython-versions = ">=3.9"\ncontent-hash = ""\n'
