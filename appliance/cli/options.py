"""Options that several verbs share, as decorators of their functions."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from appliance.cli.source import Source, find_spec

Function = Callable[..., Any]

# A path is checked by the function that opens it, which explains what is wrong.
FILE = click.Path(readable=False, path_type=Path)


class Directory(click.Path):
    """Path of a directory, which shells complete as such."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[Any]":
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir")]


DIRECTORY = Directory(readable=False, path_type=Path)


class Number(click.ParamType[int]):
    """Whole number between two bounds, which are valid values."""

    name = "number"

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not text.isdecimal() or not self._least <= int(text) <= self._most:
            bounds = f"{self._least} to {self._most}"
            self.fail(f"expected a whole number from {bounds}, got {text!r}", param, ctx)
        return int(text)


json_option = click.option("--json", "as_json", is_flag=True, help="print one JSON document")

spec_option = click.option(
    "-c",
    "--spec",
    metavar="SPEC",
    type=FILE,
    help="the spec (default: $PYINDEX_SPEC, ./pyindex.yml, /etc/pyindex/pyindex.yml)",
)
_state_option = click.option(
    "--state",
    metavar="DIR",
    type=DIRECTORY,
    help="state directory to use with DIR (default: below ~/.local/share/pyindex)",
)
_DIRECTORY_HELP = "directory of package files, to use without a spec"
_directory_option = click.option(
    "-d", "--directory", metavar="DIR", type=DIRECTORY, help=_DIRECTORY_HELP
)
_directory_argument = click.argument(
    "directory", metavar="[DIR]", required=False, type=DIRECTORY, help=_DIRECTORY_HELP
)
_index_option = click.option("--index", help="name of the index (default: the first from the spec)")


def source_options(function: Function) -> Function:
    """Options that name a spec, or a directory of package files: the argument ``source``."""
    return _directory_option(spec_option(_state_option(_with_source(function))))


def source_arguments(function: Function) -> Function:
    """The same as :func:`source_options`, with the directory as a positional argument."""
    return _directory_argument(spec_option(_state_option(_with_source(function))))


def index_options(function: Function) -> Function:
    """Options that name one index: the arguments ``source`` and ``index``."""
    return source_options(_index_option(function))


def spec_options(function: Function) -> Function:
    """An option or a positional argument that names a spec: the argument ``path``."""

    @wraps(function)
    def command(file: Path | None, spec: Path | None, **values: Any) -> Any:
        if file is not None and spec is not None:
            raise click.UsageError(f"got two specs, {file} and {spec}; pass only one of them")
        return function(path=find_spec(file or spec), **values)

    argument = click.argument(
        "file", metavar="[FILE]", required=False, type=FILE, help="the spec, as with -c"
    )
    return argument(spec_option(command))


def _with_source(function: Function) -> Function:
    @wraps(function)
    def command(
        directory: Path | None, spec: Path | None, state: Path | None, **values: Any
    ) -> Any:
        return function(source=Source(directory, spec, state), **values)

    return command
