"""The command line: one module per verb, each a function with plain arguments and an exit code."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from appliance.cli import decide, rebuild, serve, status, watch
from appliance.cli import spec as spec_verbs
from appliance.errors import PyindexError


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="pyindex", description="A private Python package index.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"pyindex {version('pyindex')}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (serve, watch, status, rebuild, decide, spec_verbs):
        module.register(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 for a failure that can be explained, 2 for wrong usage."""
    arguments = parser().parse_args(argv)
    try:
        result: int = arguments.run(arguments)
    except PyindexError as error:
        for line in str(error).splitlines():
            print(f"pyindex: {line}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"pyindex: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result
