"""``pyindex init`` and ``pyindex spec check|schema``."""

import argparse
import json
import os
import sys
from importlib import resources
from pathlib import Path

from appliance.atomic import Batch
from appliance.cli import common
from appliance.errors import PyindexError, SpecError
from appliance.render import files
from appliance.spec import Spec, load, schema

DEFAULT = Path("pyindex.yml")


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``init`` and ``spec`` to the command line."""
    init = subparsers.add_parser(
        "init",
        help="write a commented spec to start from",
        description="Write a commented spec that shows every key and its default.",
    )
    init.add_argument(
        "path", nargs="?", type=Path, default=DEFAULT, help="file to write (default: %(default)s)"
    )
    init.add_argument("--force", action="store_true", help="write over an existing file")
    init.set_defaults(run=lambda args: write_starter(args.path, args.force))

    spec = subparsers.add_parser(
        "spec", help="check a spec, or print its JSON Schema", description="Work with spec files."
    )
    verbs = spec.add_subparsers(required=True, metavar="VERB")
    check_verb = verbs.add_parser(
        "check",
        help="say what a spec means, or all that is wrong with it",
        description="Say what a spec means, or all that is wrong with it as FILE:LINE: KEY: ...",
    )
    common.add_spec(check_verb)
    check_verb.set_defaults(run=lambda args: check(common.spec_path(args)))
    schema_verb = verbs.add_parser(
        "schema",
        help="print the JSON Schema of specs, so that editors complete them",
        description="Print the JSON Schema of specs, so that editors complete and check them.",
    )
    schema_verb.set_defaults(run=lambda args: print_schema())


def write_starter(path: Path, force: bool) -> int:
    """Write the starter spec to ``path``, whole or not at all."""
    if os.path.lexists(path) and not force:
        raise PyindexError(f"{path}: exists; --force writes over it")
    starter = resources.files("appliance.spec").joinpath("starter.yml").read_bytes()
    try:
        with Batch() as batch:
            batch.write(path.resolve(), starter)
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}") from None
    print(f'{path} is written. Edit it, then: pyindex spec check -c "{path}"')
    return 0


def check(path: Path) -> int:
    """Print what the spec says, or each problem on standard error; 1 when there are any."""
    try:
        spec = load(path)
        if spec.host.system is not None:
            with common.about(path):
                files(spec)  # more is wanted of a host than of an index alone
    except SpecError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 1
    print(f"{path}: OK")
    print(*_summary(spec), sep="\n")
    return 0


def print_schema() -> int:
    """Print the JSON Schema."""
    print(json.dumps(schema(), indent=2))
    return 0


def _summary(spec: Spec) -> list[str]:
    lines = [f"  {spec.name}, state in {spec.state}"]
    for name, index in spec.indexes.items():
        behind = f", then {', '.join(spec.lineage(name)[1:])}" if index.bases else ""
        lines.append(f"  /{spec.prefix(name)}simple/ serves {index.packages}{behind}")
    return lines
