"""``pyindex rebuild``: the catalog's facts and all pages anew, from the package files."""

import argparse

from appliance.cli import common
from appliance.index.recover import rebuild


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "rebuild",
        help="read all package files again, and write the catalog's facts and all pages anew",
        description="Read all package files again, correct the catalog, and write all pages. "
        "Yanks, statuses and the journal stay, if the old catalog can be read; if it is damaged, "
        "it is kept beside the new one, and what can be read of it is taken over.",
    )
    common.add_source(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    for line in rebuild(common.source(arguments)):
        print(line)
    return 0
