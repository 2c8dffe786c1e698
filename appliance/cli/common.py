"""What several verbs share: which index they speak of, and how they log."""

import argparse
import logging
import os
import sys
from pathlib import Path

from appliance import spec
from appliance.errors import NotFound, SpecError
from appliance.spec import Spec

SPEC_HELP = "the spec (default: $PYINDEX_SPEC, ./pyindex.yml, /etc/pyindex/pyindex.yml)"
_PLACES = (Path("pyindex.yml"), Path("/etc/pyindex/pyindex.yml"))


def add_source(parser: argparse.ArgumentParser, positional: bool = False) -> None:
    """Options that say where the index is: a spec, or a directory of packages without one."""
    directory = "directory of package files, to use without a spec"
    if positional:
        parser.add_argument("directory", metavar="DIR", nargs="?", type=Path, help=directory)
    else:
        parser.add_argument("-d", "--directory", metavar="DIR", type=Path, help=directory)
    parser.add_argument(
        "-c",
        "--spec",
        metavar="SPEC",
        type=Path,
        help=SPEC_HELP,
    )
    parser.add_argument(
        "--state", type=Path, help="directory for catalog and pages, with DIR (default: chosen)"
    )


def source(arguments: argparse.Namespace) -> Spec:
    """The spec that the options of :func:`add_source` mean."""
    directory, path, state = arguments.directory, arguments.spec, arguments.state
    if directory is not None and path is not None:
        raise SpecError(["give a directory or a spec, not both"])
    if directory is not None:
        return spec.for_directory(directory, state)
    if state is not None:
        raise SpecError(["--state goes with a directory; a spec has its own state"])
    return spec.load(path or usual_place())


def usual_place() -> Path:
    """The spec that is meant when none is named; :class:`SpecError` if there is none."""
    if named := os.environ.get("PYINDEX_SPEC"):
        return Path(named)
    for place in _PLACES:
        if os.path.exists(place):  # noqa: PTH110  # Path's version fails in a directory not ours
            return place
    places = " or ".join(map(str, _PLACES))
    raise SpecError([f"no spec at {places}: give a directory, -c SPEC, or run `pyindex init`"])


def add_index(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", help="which index (default: the first of the spec)")


def index(arguments: argparse.Namespace, found: Spec) -> str:
    """The index that the option of :func:`add_index` means."""
    name = str(arguments.index or found.root)
    if name not in found.indexes:
        raise NotFound(f"no index {name!r}; the spec has {', '.join(found.indexes)}")
    return name


def log_to_stderr() -> None:
    """Plain lines; journald and a terminal add the time themselves, or can."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
