"""Options of the verbs that read requirements and locks: `mirror`, `prove` and `bundle`."""

import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import FILE
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from appliance.inputs.demand import Demand

_HELP = "requirements, such as `mako`, or files of them: requirements.txt, uv.lock, pyproject.toml"


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs on the command line: specifiers and files, constraints, extras and groups."""

    texts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    constraints: tuple[Path, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def read(self, builds: Collection[str] = ()) -> "tuple[Demand, ...]":
        """Read all inputs; ``builds`` are projects that the command builds. Raises
        :class:`PyindexError` with the file and the line or key."""
        from appliance.inputs import reading

        words = [text for text in self.texts if not _is_file(text)]
        files = [*(Path(text) for text in self.texts if _is_file(text)), *self.files]
        choice: dict[str, Any] = {"extras": self.extras, "groups": self.groups, "builds": builds}
        demands = [reading.read(file, constraints=self.constraints, **choice) for file in files]
        if words:
            demands.append(
                reading.from_arguments(words, constraints=self.constraints, builds=builds)
            )
        return tuple(demands)

    def notes(self) -> tuple[str, ...]:
        """Say which settings of pip are not read, unless options say the same."""
        from appliance.upstream.pipconfig import not_read

        return () if self.constraints else not_read(os.environ)

    def print_notes(self) -> None:
        """Print :meth:`notes` as errors are."""
        for note in self.notes():
            print(f"note: {note}", file=sys.stderr)

    def required(self, builds: Collection[str] = ()) -> "tuple[Demand, ...]":
        """As :meth:`read`; raises :class:`PyindexError` without any input."""
        demands = self.read(builds)
        if not demands:
            raise PyindexError("no input; pass requirements, or a file of them with -r FILE")
        return demands


def _is_file(text: str) -> bool:
    """Whether an argument is a path: no specifier names a file that exists."""
    return Path(text).is_file()


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument INPUT and its options; the function gets ``inputs`` and ``targets``."""

    @click.argument("texts", metavar="[INPUT...]", nargs=-1, help=_HELP)
    @click.option(
        "-r", "--requirement", "files", metavar="FILE", multiple=True, type=FILE, help="a file"
    )
    @click.option(
        "--constraint",
        "constraints",
        metavar="FILE",
        multiple=True,
        type=FILE,
        help="file of constraints: versions that are not to be exceeded",
    )
    @click.option(
        "--extra",
        "extras",
        metavar="NAME",
        multiple=True,
        help="extra of a lock or project, or all",
    )
    @click.option(
        "--group",
        "groups",
        metavar="NAME",
        multiple=True,
        help="group of a lock or project, or all",
    )
    @click.option(
        "--target",
        "targets",
        metavar="TARGET",
        multiple=True,
        help="Python and platform, see `pyindex targets` (default: `targets` from the spec)",
    )
    @wraps(function)
    def wrapped(
        texts: tuple[str, ...],
        files: tuple[Path, ...],
        constraints: tuple[Path, ...],
        extras: tuple[str, ...],
        groups: tuple[str, ...],
        **others: Any,
    ) -> Any:
        inputs = Inputs(texts, files, constraints, extras, groups)
        return function(inputs=inputs, **others)

    return wrapped
