"""``pyindex rebuild``: the catalog's facts and all pages anew, from the package files."""

import argparse

from appliance.cli import common
from appliance.operations.rebuild import rebuild


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "rebuild",
        help="read all package files again, and write the catalog's facts and all pages anew",
        description="Read all package files again, correct the catalog, and write all pages. "
        "Yanks and statuses stay; a damaged catalog is kept beside the new one, and what can be "
        "read of it is taken over. A file whose bytes changed while its size and times did not is "
        "refused.",
    )
    common.add_source(parser)
    parser.add_argument(
        "--accept-changes", action="store_true", help="accept such files with the bytes they have"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    for line in rebuild(common.source(arguments, changes=True), arguments.accept_changes):
        print(line)
    return 0
