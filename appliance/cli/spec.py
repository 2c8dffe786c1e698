"""``pyindex init`` and ``pyindex spec check|schema``."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import FILE, json_option, spec_options
from appliance.cli.output import print_json
from appliance.cli.source import naming_spec
from appliance.errors import PyindexError, SpecError

if TYPE_CHECKING:
    from appliance.spec import Spec

_DEFAULT = Path("pyindex.yml")


@click.command(short_help="write a commented spec to start from")
@click.argument(
    "path",
    metavar="[FILE]",
    required=False,
    default=_DEFAULT,
    type=FILE,
    help=f"file to write (default: {_DEFAULT})",
)
@click.option("--force", is_flag=True, help="overwrite an existing file")
def init(path: Path, force: bool) -> None:
    """Write a commented spec that shows every key with its default."""
    from importlib import resources

    from appliance.atomic import Batch

    if os.path.lexists(path) and not force:
        raise PyindexError(f"{path}: exists already; pass --force to overwrite it")

    starter = resources.files("appliance.spec").joinpath("starter.yml").read_bytes()
    try:
        with Batch() as batch:
            batch.write(path.resolve(), starter)
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}") from None
    print(f'{path}: written; edit it, then run: pyindex spec check "{path}"')


@click.group(short_help="check a spec, or print its JSON Schema")
def spec() -> None:
    """Work with specs."""


@spec.command(short_help="print what a spec means, or every problem in it")
@spec_options
@json_option
def check(path: Path, as_json: bool) -> int:
    """Print what a spec means, or every problem in it as FILE:LINE: KEY: PROBLEM. Exits with 1 if
    there is a problem; a warning, as of an account that does not exist yet, is none.
    """
    try:
        facts = _facts(_load(path))
    except SpecError as error:
        if as_json:
            print_json({"path": str(path), "problems": error.problems})
        else:
            print(*error.problems, sep="\n", file=sys.stderr)
        return 1

    if as_json:
        print_json({"path": str(path), "problems": []} | facts)
    else:
        print(f"{path}: OK")
        _print_facts(facts)
    return 0


@spec.command(short_help="print the JSON Schema of specs, for editors")
def schema() -> None:
    """Print the JSON Schema of specs, with which editors complete and check them."""
    from appliance.spec import schema as spec_schema

    print(json.dumps(spec_schema(), indent=2))


def _load(path: Path) -> "Spec":
    """Load a spec; one that names a host must be sufficient to render its files."""
    from appliance.render import files
    from appliance.spec import load

    spec = load(path)
    if spec.host.system is not None:
        with naming_spec(path):
            files(spec)
    return spec


def _facts(spec: "Spec") -> dict[str, Any]:
    from appliance.policy.warnings import warnings

    indexes = {
        name: {
            "path": f"/{spec.prefix(name)}simple/",
            "packages": str(index.packages),
            "lineage": list(spec.lineage(name)),
        }
        for name, index in spec.indexes.items()
    }
    names = {"name": spec.name, "state": str(spec.state)}
    return names | {"indexes": indexes, "warnings": list(warnings(spec))}


def _print_facts(facts: dict[str, Any]) -> None:
    print(f"  {facts['name']}, state in {facts['state']}")
    for index in facts["indexes"].values():
        _, *bases = index["lineage"]
        then = f", then {', '.join(bases)}" if bases else ""
        print(f"  {index['path']} serves {index['packages']}{then}")
    for warning in facts["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
