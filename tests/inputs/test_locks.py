"""Locks: each takes for a target what an install by its own tool takes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from packaging.requirements import Requirement

from appliance.inputs.demand import Pin
from appliance.inputs.documents import read_toml
from appliance.inputs.reading import read
from tests.inputs.fixtures import DATA, POETRY, UV
from tests.inputs.targets import TARGETS, target

# The same project in each lock: on Linux with Python 3.11, and on Windows with Python 3.9.
NEW = "click==8.1.8 iniconfig==2.1.0 pytest==9.0.1"
OLD = "click==8.1.8 colorama==0.4.6 importlib-metadata==8.7.0 iniconfig==2.1.0 pytest==8.4.2"
OLD += " tomli==2.3.0 zipp==3.23.0"
RICH = "pygments==2.19.2 rich==14.0.0"
ATTRS = "attrs==24.1.0"
# Path, extras, groups, and the releases on the two targets.
CASES = {
    "uv": ("uv/uv.lock", "", "", NEW, OLD),
    "uv extra": ("uv/uv.lock", "cli", "", f"{NEW} {RICH} speedup==1.5", f"{OLD} {RICH}"),
    "uv group": ("uv/uv.lock", "", "docs", f"{NEW} mistune==3.0.2", f"{OLD} mistune==3.0.2"),
    "uv conflict": ("uv/uv.lock", "new", "", f"{ATTRS} {NEW}", f"{ATTRS} {OLD}"),
    "uv other": ("uv/uv.lock", "old", "", f"attrs==22.2.0 {NEW}", f"attrs==22.2.0 {OLD}"),
    "script": ("script/tool.py.lock", "", "", f"{RICH} speedup==1.5", f"colorama==0.4.6 {RICH}"),
    "workspace": (
        "workspace/uv.lock",
        *("fast", "docs"),
        f"{ATTRS} {NEW} mistune==3.0.2 {RICH} speedup==1.5",
        f"{ATTRS} click==8.1.8 colorama==0.4.6 iniconfig==2.1.0 mistune==3.0.2 pytest==8.4.2"
        f" {RICH} tomli==2.3.0",
    ),
    "pylock": ("uv/pylock.toml", "", "", f"{NEW} mistune==3.0.2", f"{OLD} mistune==3.0.2"),
    "poetry": ("poetry/poetry.lock", "", "", NEW.replace("9.0.1", "8.4.2"), OLD),
    "poetry extra": (
        "poetry/poetry.lock",
        *("cli", ""),
        f"{NEW} {RICH} speedup==1.5".replace("9.0.1", "8.4.2"),
        f"{OLD} {RICH}",
    ),
    "poetry group": (
        "poetry/poetry.lock",
        *("", "docs"),
        f"{NEW} mistune==3.0.2".replace("9.0.1", "8.4.2"),
        f"{OLD} mistune==3.0.2",
    ),
    "poetry 1": ("poetry1/poetry.lock", "", "", NEW, OLD),
    "poetry 1 all": (
        "poetry1/poetry.lock",
        *("all", "all"),
        f"{ATTRS} {NEW} mistune==3.0.2 {RICH} speedup==1.5",
        f"{ATTRS} {OLD} mistune==3.0.2 {RICH}",
    ),
    "pdm": (
        "pdm/pdm.lock",
        *("", ""),
        f"{NEW} mistune==3.0.2".replace("9.0.1", "8.4.2"),
        f"{OLD} mistune==3.0.2",
    ),
    "pdm plain": (
        "pdm-plain/pdm.lock",
        *("cli", ""),
        f"{NEW} mistune==3.0.2 {RICH} speedup==1.5".replace("9.0.1", "8.4.2"),
        f"{OLD} mistune==3.0.2 {RICH}",
    ),
}


def releases(pins: tuple[Pin, ...]) -> list[str]:
    return [f"{pin.name}=={pin.version}" for pin in pins]


@pytest.mark.parametrize("case", CASES)
def test_lock_takes_releases_of_target(case: str) -> None:
    """A lock takes the releases of the target's markers, with its default groups and those asked
    for."""
    name, extras, groups, new, old = CASES[case]
    demand = read(DATA / name, extras=extras.split(), groups=groups.split())
    assert demand.lock is not None
    assert demand.requirements == ()
    assert releases(demand.lock.pins(target("3.11"))) == sorted(new.split())
    assert releases(demand.lock.pins(target("3.9", "win32"))) == sorted(old.split())


def test_pipenv_takes_default_category() -> None:
    """A Pipfile.lock takes the default category, and others when asked for."""
    path = DATA / "pipenv" / "Pipfile.lock"
    lock = read(path, groups=["dev", "docs"]).lock
    assert lock is not None
    assert releases(lock.pins(target("3.11"))) == [
        "click==8.1.8",
        "iniconfig==2.1.0",
        "mistune==3.0.2",
        "pytest==9.0.1",
    ]
    demand = read(path)
    assert demand.lock is not None
    (click,) = demand.lock.pins(target("3.11"))
    assert (click.index, len(click.hashes)) == ("https://index.example/simple/", 1)
    assert demand.options.index_url == "https://index.example/simple/"


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    ("project", "options", "extras", "groups"),
    [
        ("uv", [], [], []),
        ("uv", ["--extra", "cli", "--extra", "old"], ["cli", "old"], []),
        ("uv", ["--extra", "new", "--all-groups"], ["new"], ["all"]),
        ("workspace", ["--all-packages", "--all-groups"], [], ["all"]),
    ],
)
def test_uv_exports_same_releases(
    name: str,
    project: str,
    options: list[str],
    extras: list[str],
    groups: list[str],
    tmp_path: Path,
) -> None:
    """uv exports the same releases and digests, by the markers that it exports."""
    directory = shutil.copytree(DATA / project, tmp_path / project)
    command: list[str | Path] = [
        UV,
        "export",
        "--frozen",
        "--no-config",
        "--offline",
        "--no-emit-workspace",
    ]
    command += [
        "--format",
        "requirements.txt",
        "--python",
        sys.executable,
        "--no-annotate",
        "--no-header",
    ]
    exported = subprocess.run(
        [*command, *options], cwd=directory, capture_output=True, text=True, check=True
    )
    path = tmp_path / "requirements.txt"
    path.write_text(exported.stdout)

    wanted = [
        (each.requirement.name + str(each.requirement.specifier), each.hashes)
        for each in read(path).requirements
        if _applies(each.requirement, name)
    ]
    lock = read(directory / "uv.lock", extras=extras, groups=groups).lock
    assert lock is not None
    pins = lock.pins(TARGETS[name])
    assert sorted(wanted) == [(f"{pin.name}=={pin.version}", pin.hashes) for pin in pins]


def _applies(requirement: Requirement, name: str) -> bool:
    environment = dict(TARGETS[name].environment)
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("tool", ["poetry", "pdm"])
def test_requirement_for_project_itself_needs_no_package(tool: str, tmp_path: Path) -> None:
    """A plugin that requires the project itself, which its lock lacks, is no error."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "demo"\ndependencies = ["plugin"]\n[tool.poetry]\n'
    )
    package = '[[package]]\nname = "plugin"\nversion = "1"\n'
    if tool == "pdm":
        text = f'{package}dependencies = ["demo>=1"]\n[metadata]\nlock_version = "4.5"\n'
    else:
        metadata = POETRY.replace("2.1", "2.0")
        text = f'{package}[package.dependencies]\ndemo = ">=1"\n{metadata}'
    path = tmp_path / f"{tool}.lock"
    path.write_text(text)
    lock = read(path).lock
    assert lock is not None
    assert releases(lock.pins(target())) == ["plugin==1"]


@pytest.mark.parametrize("name", TARGETS)
def test_pylock_takes_what_packaging_selects(name: str) -> None:
    """A pylock.toml takes the packages that packaging selects."""
    path = DATA / "uv" / "pylock.toml"
    chosen = TARGETS[name]
    pylock = Pylock.from_dict(dict(read_toml(path).values))
    selected = pylock.select(environment=dict(chosen.environment), tags=chosen.tags)  # type: ignore[arg-type]
    expected = sorted(f"{package.name}=={package.version}" for package, _ in selected)
    lock = read(path).lock
    assert lock is not None
    assert releases(lock.pins(chosen)) == expected


@pytest.mark.parametrize("name", ["uv/uv.lock", "uv/pylock.toml"])
def test_lock_lists_files_of_all_targets(name: str) -> None:
    """A pin has each file of the release with what the lock says about it."""
    demand = read(DATA / name, extras=["cli"] if name == "uv/uv.lock" else [], groups=[])
    assert demand.lock is not None
    mistune = demand.lock.pins(target("3.11"))
    files = {file.filename: file for pin in mistune for file in pin.files}
    click = files["click-8.1.8-py2.py3-none-any.whl"]
    assert click.url == "https://index.example/packages/click-8.1.8-py2.py3-none-any.whl"
    assert (click.size, click.upload_time) == (1016, 1_525_176_000_000_000)
    assert len(click.hashes["sha256"]) == 64
    if name == "uv/uv.lock":
        assert len([file for file in files if file.startswith("speedup")]) == 3
        assert {pin.index for pin in mistune} == {"https://index.example/simple/"}
