"""Options of the verbs that build a pack: `appliance pack` and `bundle --with-appliance`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import DIRECTORY

if TYPE_CHECKING:
    from appliance.pack.python import Python

_PYTHON = "3.11"


@dataclass(frozen=True, slots=True)
class Packing:
    """Parts and options of a pack to build: the host's Python, a directory of OS packages, and
    whether to use the newest dependencies."""

    archive: str | None = None
    sha256: str | None = None
    version: str | None = None
    packages: Path | None = None
    upgrade: bool = False

    @property
    def python(self) -> "Python":
        from appliance.pack.python import Python

        sha256 = self.sha256.lower() if self.sha256 else None
        return Python(self.version or _PYTHON, self.archive, sha256)


def pack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a pack; the function gets ``packing``."""

    @click.option(
        "--python",
        "archive",
        metavar="ARCHIVE",
        help="tar file with a relocatable CPython, as a path or URL, for a host without a Python",
    )
    @click.option("--python-sha256", "sha256", metavar="HEX", help="SHA-256 of the tar file")
    @click.option(
        "--python-version",
        "version",
        metavar="X.Y",
        help=f"version of the host's Python (default: {_PYTHON})",
    )
    @click.option(
        "--packages",
        metavar="DIR",
        type=DIRECTORY,
        help="directory of .deb or .rpm files to include, for a host that reaches no repository",
    )
    @click.option("--upgrade", is_flag=True, help="use the newest versions of the dependencies")
    @wraps(function)
    def wrapped(
        archive: str | None,
        sha256: str | None,
        version: str | None,
        packages: Path | None,
        upgrade: bool,
        **others: Any,
    ) -> Any:
        return function(packing=Packing(archive, sha256, version, packages, upgrade), **others)

    return wrapped
