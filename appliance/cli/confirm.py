"""``pyindex confirm-deletions``: that files which vanished all at once were meant to."""

import argparse

from appliance.cli import common
from appliance.operations.update import confirm_deletions


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "confirm-deletions",
        help="say that files which vanished all at once were deleted on purpose",
        description="Where most of an index vanishes at once, or a disk that was mounted in its "
        "packages directory, its files stay listed, and `pyindex status` says so. This takes them "
        "out of the index: what is not in the packages directory now was deleted on purpose.",
    )
    common.add_index(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    spec, index = common.index(arguments)
    print(f"{index}: {confirm_deletions(spec, index)} files removed")
    return 0
