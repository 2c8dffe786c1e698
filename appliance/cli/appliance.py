"""``pyindex appliance pack``: what ansible carries to a host."""

import argparse
from pathlib import Path

from appliance import spec as specs
from appliance.cli import common
from appliance.pack import build_pack, check_pack
from appliance.pack.python import Python


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "appliance", help="prepare what is carried to a host", description="Prepare a host."
    )
    below = parser.add_subparsers(required=True, metavar="VERB")
    packing = below.add_parser(
        "pack",
        help="build the directory that ansible carries to a host without a network",
        description="Build the directory that is carried to a host: wheels of pyindex and of all "
        "that it needs for the host's Python and glibc 2.17, a pip to install them with, and what "
        "the options name. Versions are chosen once; the same inputs change nothing.",
    )
    common.add_spec(packing)
    packing.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="directory to build, or to renew"
    )
    packing.add_argument(
        "--python",
        metavar="ARCHIVE",
        help="tar file with a relocatable CPython, as a path or URL, for a host that has none",
    )
    packing.add_argument("--python-sha256", metavar="HEX", type=str.lower, help="its SHA-256")
    packing.add_argument(
        "--python-version",
        metavar="X.Y",
        default=Python.version,
        help="version of the host's Python (default: %(default)s)",
    )
    packing.add_argument(
        "--packages",
        metavar="DIR",
        type=Path,
        help="directory of .deb or .rpm files to carry, for a host that reaches no repository",
    )
    packing.add_argument(
        "--upgrade", action="store_true", help="look for newer versions of the dependencies"
    )
    packing.set_defaults(run=run)
    checking = below.add_parser(
        "check",
        help="compare a pack with its manifest",
        description="Compare each file of a pack with its manifest. Names what was changed, is "
        "missing or was added, and ends with 1 if something was.",
    )
    checking.add_argument("pack", metavar="DIR", type=Path, help="directory that `pack` built")
    checking.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    pack = check_pack(arguments.pack.absolute())
    print(f"{arguments.pack}: OK, release {pack.release}, {pack.files} files")
    return 0


def run(arguments: argparse.Namespace) -> int:
    spec = specs.load(common.spec_path(arguments))
    python = Python(arguments.python_version, arguments.python, arguments.python_sha256)
    out: Path = arguments.out.absolute()
    pack = build_pack(spec, out, python, arguments.packages, arguments.upgrade)
    what = "built" if pack.changed else "unchanged"
    print(f"{arguments.out}: {what}, release {pack.release}, {pack.files} files")
    return 0
