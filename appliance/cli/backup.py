"""``pyindex backup`` and ``pyindex restore``: the catalog, which no package file can replace."""

import argparse
from pathlib import Path

from appliance.cli import common
from appliance.operations import backup, restore


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    backup = verbs.add_parser(
        "backup",
        help="copy the catalog into the backup directory",
        description="Copy the catalog (decisions, journal, what is known of the files) into the "
        "spec's backup.directory (of a directory, into its state) while the index runs, and remove "
        "copies of it beyond backup.keep. The "
        "package files are not copied.",
    )
    common.add_source(backup)
    backup.set_defaults(run=_backup)

    restore = verbs.add_parser(
        "restore",
        help="put a copy of the catalog in its place",
        description="Put a copy of the catalog in its place, bring it up to the package files, and "
        "write all pages. The index must not be running. The catalog until then is kept.",
    )
    restore.add_argument("copy", metavar="FILE", type=Path, help="a file that `backup` wrote")
    common.add_source(restore)
    restore.set_defaults(run=_restore)


def _backup(arguments: argparse.Namespace) -> int:
    print(backup.backup(common.source(arguments)))
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    for line in restore.restore(common.source(arguments), arguments.copy):
        print(line)
    return 0
