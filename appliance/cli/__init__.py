"""The command line: one module per verb, options to plain arguments, values to text or JSON.

Not here: the work itself: each verb calls one function of a package below.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from appliance.errors import PyindexError

# Each verb's module, in the order of `pyindex --help`.
_MODULES = {
    "serve": "serve",
    "watch": "watch",
    "status": "status",
    "rebuild": "rebuild",
    "backup": "backup",
    "restore": "backup",
    "verify": "verify",
    "gc": "gc",
    "yank": "decide",
    "unyank": "decide",
    "remove": "decide",
    "confirm-deletions": "confirm",
    "status-set": "decide",
    "render": "render",
    "appliance": "appliance",
    "init": "spec",
    "spec": "spec",
}


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line, or of what the module of one ``verb`` registers: to
    import the others would be most of the time that it takes to start."""
    top = argparse.ArgumentParser(
        prog="pyindex", description="A private Python package index.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"pyindex {version('pyindex')}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    names = [_MODULES[verb]] if verb in _MODULES else dict.fromkeys(_MODULES.values())
    for name in names:
        import_module(f"appliance.cli.{name}").register(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, 1 for a failure that can be explained, 2 for wrong usage."""
    # No process that this one starts imports what lies in the current directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    arguments = parser(*(sys.argv[1:] if argv is None else argv)[:1]).parse_args(argv)
    try:
        result: int = arguments.run(arguments)
    except PyindexError as error:
        _tell(str(error))
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"{where}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return result


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may lie on the disk that is full
        for line in text.splitlines():
            print(f"pyindex: {line}", file=sys.stderr)
