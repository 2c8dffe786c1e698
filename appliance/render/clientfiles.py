"""Settings of clients at the paths where each client reads them.

pip, uv and PDM read a file of the user; conda gets the ``environment.yml`` of a project; Poetry
reads indexes only from the ``pyproject.toml`` of a project. Other files are not merged.
"""

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.atomic import Batch
from appliance.errors import PyindexError
from appliance.render.clients import client, settings
from appliance.spec import Spec

# The client file of each tool, and the environment variable for a private CA if the file cannot
# name it.
_NAMES = {
    "pip": ("pip.conf", None),
    "uv": ("uv.toml", "SSL_CERT_FILE"),
    "poetry": ("poetry.toml", "REQUESTS_CA_BUNDLE"),
    "pdm": ("pdm.toml", None),
    "conda": ("environment.yml", "PIP_CERT"),
}
TOOLS = tuple(_NAMES)
_HEAD = "Written by pyindex client."


@dataclass(frozen=True)
class ClientFile:
    """The settings of one tool.

    Attributes:
        path: The file that the tool reads.
        content: What is to be in it.
        is_part: Whether ``content`` is added to the file, instead of being all of it.
        variables: Environment variables that the tool needs too.
    """

    tool: str
    path: Path
    content: str
    is_part: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """Whether a file was changed, and where its content from before is."""

    is_changed: bool
    backup: Path | None = None


def client_file(spec: Spec, tool: str, url: str, ca: Path | None = None) -> ClientFile:
    """The settings of one of ``TOOLS`` for an appliance at ``url``, whose private CA has its
    certificate at ``ca``. Paths in a project start at the current directory."""
    name, variable = _NAMES[tool]
    is_part = tool == "poetry"
    return ClientFile(
        tool,
        _path(tool),
        # Comments would not describe the rest of the file.
        f"{settings(spec, name, url)}\n" if is_part else client(spec, name, url, ca, _HEAD),
        is_part,
        variables={variable: str(ca)} if variable and ca else {},
    )


def write(file: ClientFile, force: bool = False) -> Written:
    """Write a file atomically, if it has other content. Raises PyindexError for an existing file
    that cannot be extended, or that is to be replaced without ``force``; ``OSError``."""
    path = file.path.resolve()
    before = path.read_bytes() if path.exists() else None
    content = _extended(file, before) if file.is_part else file.content.encode()
    if content == before:
        return Written(is_changed=False)
    if before is not None and not file.is_part and not force:
        raise PyindexError(f"{file.path}: has other content; merge it, or pass --force")

    backup = _back_up(path) if before is not None else None
    with Batch() as batch:
        batch.write(path, content)
    if backup:
        shutil.copymode(backup, path)
    return Written(is_changed=True, backup=backup)


def _path(tool: str) -> Path:
    """The path that a tool reads: of the user, as the XDG specification has it, or the project."""
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    user = Path(configuration) if configuration.startswith("/") else Path("~/.config").expanduser()
    return {
        "pip": user / "pip/pip.conf",
        "uv": user / "uv/uv.toml",
        "poetry": Path("pyproject.toml"),
        "pdm": user / "pdm/config.toml",
        "conda": Path("environment.yml"),
    }[tool]


def _extended(file: ClientFile, before: bytes | None) -> bytes:
    """The content of ``pyproject.toml`` with the sources of Poetry; unchanged if it has them."""
    if before is None:
        raise PyindexError(f"{file.path}: not found; change to the directory of the project")
    try:
        sources = _sources(before.decode())
    except (ValueError, AttributeError) as error:
        raise PyindexError(f"{file.path}: not a valid pyproject.toml: {error}") from None

    if sources == _sources(file.content):
        return before
    if sources:
        raise PyindexError(
            f"{file.path}: has [[tool.poetry.source]] already; replace it with the output of"
            " `pyindex client poetry`"
        )
    return before.rstrip(b"\n") + b"\n\n" + file.content.encode()


def _sources(text: str) -> object:
    """The sources of Poetry in a ``pyproject.toml``; ``None`` without any."""
    return tomllib.loads(text).get("tool", {}).get("poetry", {}).get("source")


def _back_up(path: Path) -> Path:
    """Link a file to an unused name beside it, which is returned."""
    number = 0
    while True:
        backup = path.with_name(f"{path.name}.bak{number or ''}")
        try:
            backup.hardlink_to(path)
        except FileExistsError:
            number += 1
        else:
            return backup
