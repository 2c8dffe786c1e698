"""``pyindex gc``: what only grows, cut back to what the spec keeps."""

import argparse

from appliance.cli import common
from appliance.operations.prune import prune


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "gc",
        help="remove what the spec does not keep any longer",
        description="Remove files from the trash, replaced catalogs and lines of the journal that "
        "are older than the spec's keep section says. Only what pyindex named itself is removed.",
    )
    common.add_source(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    verb = "would remove" if arguments.dry_run else "removed"
    size = 0
    for removed in prune(common.source(arguments, changes=True), arguments.dry_run):
        print(f"{verb} {removed.what}")
        size += removed.size
    print(f"{verb} {size / 1e6:.1f} MB of files")
    return 0
