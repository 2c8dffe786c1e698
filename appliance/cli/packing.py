"""Options of the verbs that build a pack: `appliance pack` and `bundle --with-appliance`."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import DIRECTORY
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from appliance.pack.python import Python
    from appliance.spec import Spec

_PYTHON = "3.11"


@dataclass(frozen=True, slots=True)
class Packing:
    """Parts and options of a pack to build: the system and the Python of the host, a directory of
    OS packages or repositories that have them, and whether to use the newest of all."""

    system: str | None = None
    archive: str | None = None
    sha256: str | None = None
    version: str | None = None
    mirror: str | None = None
    packages: Path | None = None
    repositories: tuple[str, ...] = ()
    upgrade: bool = False

    @property
    def python(self) -> "Python":
        from appliance.pack.python import Python

        sha256 = self.sha256.lower() if self.sha256 else None
        return Python(self.version or _PYTHON, self.archive, sha256, self.mirror)

    def applied(self, spec: "Spec") -> "Spec":
        """The spec with the options that stand for its keys. Raises PyindexError if it has another
        system, or if an option is no repository."""
        from appliance.spec import with_host

        if self.system and spec.host.system not in (None, self.system):
            raise PyindexError(
                f"--system: expected {spec.host.system}, as host.system of the spec, got"
                f" {self.system}"
            )
        changes: dict[str, object] = {"system": self.system} if self.system else {}
        if self.repositories:
            changes["repositories"] = self.repositories
        return with_host(spec, changes)


def pack_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a pack; the function gets ``packing``."""

    @click.option(
        "--system",
        type=click.Choice(["centos-7", "debian-12"]),
        help="operating system of the host (default: from the spec)",
    )
    @click.option(
        "--python",
        "archive",
        metavar="ARCHIVE",
        help="tar file or directory with a relocatable CPython, as a path or URL; `host` for a host"
        " that has one (default: on CentOS 7 one that uv downloads, else `host`)",
    )
    @click.option("--python-sha256", "sha256", metavar="HEX", help="SHA-256 of the tar file")
    @click.option(
        "--python-version",
        "version",
        metavar="X.Y",
        help=f"version of the host's Python (default: {_PYTHON})",
    )
    @click.option(
        "--python-mirror",
        "mirror",
        metavar="URL",
        help="mirror of python-build-standalone (default: $UV_PYTHON_INSTALL_MIRROR, or uv's own)",
    )
    @click.option(
        "--packages",
        metavar="DIR",
        type=DIRECTORY,
        help="directory of .deb or .rpm files to include, for a host that reaches no repository",
    )
    @click.option(
        "--repository",
        "repositories",
        metavar="URL",
        multiple=True,
        help="repository to take OS packages from, with all that they require (default: from the"
        " spec)",
    )
    @click.option("--upgrade", is_flag=True, help="use the newest versions of everything")
    @wraps(function)
    def wrapped(**values: Any) -> Any:
        packing = {field.name: values.pop(field.name) for field in fields(Packing)}
        return function(packing=Packing(**packing), **values)

    return wrapped
