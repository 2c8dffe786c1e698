"""The configuration of pip: its files and environment, read by its rules without running it.

https://pip.pypa.io/en/stable/topics/configuration/ has the rules.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from appliance.errors import PyindexError
from appliance.inputs.demand import Options

DOWNLOAD = ("global", "download")
INSTALL = ("global", "install")
"""The sections that a command reads, least important first."""

_DEFAULT = re.compile(r"--index-url <url>.*?\(default:? (\S+?)\)", re.S)


def read(environment: Mapping[str, str], sections: Sequence[str] = DOWNLOAD) -> dict[str, str]:
    """The settings of ``sections`` by key, such as ``extra-index-url``, without empty ones.

    Raises PyindexError for a file that pip could not read either.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in sections}
    for file in _files(environment):
        for section, settings in _read_file(file, sections).items():
            found[section] |= settings

    merged: dict[str, str] = {}
    for settings in (*found.values(), _from_environment(environment)):
        merged |= {key: value for key, value in settings.items() if value}
    return merged


def options(settings: Mapping[str, str]) -> Options:
    """The settings that inputs may have too."""
    return Options(
        index_url=settings.get("index-url") or settings.get("pypi-url"),
        extra_index_urls=tuple(settings.get("extra-index-url", "").split()),
        find_links=tuple(settings.get("find-links", "").split()),
        no_index=settings.get("no-index", "").lower() in ("y", "yes", "t", "true", "on", "1"),
    )


def not_read(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Notes about settings that would change what pip resolves, and that inputs must say instead.
    Raises as :func:`read`."""
    if "constraint" in read(environment):
        return ("pip's configuration: its `constraint` is not read; pass --constraint FILE",)
    return ()


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """The configuration files, least important first; not all need exist."""
    chosen = environment.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return
    home = Path(environment.get("HOME") or Path.home())
    directories = environment.get("XDG_CONFIG_DIRS", "").strip() or "/etc/xdg"
    yield from (Path(directory, "pip/pip.conf") for directory in directories.split(os.pathsep))
    yield Path("/etc/pip.conf")

    if not (chosen and Path(chosen).exists()):
        yield home / ".pip/pip.conf"
        yield Path(
            environment.get("XDG_CONFIG_HOME", "").strip() or home / ".config", "pip/pip.conf"
        )
    yield Path(sys.prefix, "pip.conf")
    if chosen:
        yield Path(chosen)


def _read_file(file: Path, sections: Sequence[str]) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise PyindexError(f"{file}: not a configuration of pip: {reason}; correct it") from None
    return {
        section: {_key(name): value for name, value in parser.items(section)}
        for section in sections
        if parser.has_section(section)
    }


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        _key(name.removeprefix("PIP_")): value
        for name, value in environment.items()
        if name.startswith("PIP_")
    }


def _key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


def default_index(environment: Mapping[str, str]) -> str | None:
    """The index that pip uses without any configuration, as its help states it; ``None`` if there
    is no pip."""
    command = _command()
    if command is None:
        return None
    plain = {key: value for key, value in environment.items() if not key.startswith("PIP_")}
    help_text = subprocess.run(
        [*command, "--isolated", "download", "--help"],
        env=plain | {"PIP_CONFIG_FILE": os.devnull, "COLUMNS": "1000", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    ).stdout
    match = _DEFAULT.search(help_text)
    return match[1] if match else None


def _command() -> list[str] | None:
    """The pip of the Python that runs this, or else that of the user."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    program = shutil.which("pip") or shutil.which("pip3")
    return [program] if program else None
