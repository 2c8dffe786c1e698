"""What people decide about files and projects: yank, unyank, remove, status-set."""

import argparse
import sys

from appliance.cli import common
from appliance.index.model import STATUSES
from appliance.operations import decisions


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "a file name, or PROJECT==VERSION for all files of a release"
    yank = verbs.add_parser(
        "yank",
        help="mark files so that installers pass them over unless pinned (PEP 592)",
        description="Yank files: installers pass them over unless a requirement pins them.",
    )
    yank.add_argument("what", metavar="WHAT", help=what)
    yank.add_argument("--reason", default="", help="shown to who installs it all the same")
    yank.set_defaults(run=_yank)

    unyank = verbs.add_parser(
        "unyank", help="undo a yank", description="Undo a yank: installers see the files again."
    )
    unyank.add_argument("what", metavar="WHAT", help=what)
    unyank.set_defaults(run=_unyank)

    remove = verbs.add_parser(
        "remove",
        help="move files from the packages directory to the trash",
        description="Take files out of the index. They are moved to the folder `trash` under the "
        "state directory; the journal keeps what they were.",
    )
    remove.add_argument("what", metavar="WHAT", help=what)
    remove.set_defaults(run=_remove)

    status = verbs.add_parser(
        "status-set",
        help="set a project's status (PEP 792)",
        description="Set a project's status: active; archived and deprecated tell installers so; "
        "quarantined offers no files.",
    )
    status.add_argument("project", metavar="PROJECT", help="the project's name, in any spelling")
    status.add_argument("status", metavar="STATUS", choices=STATUSES, help=", ".join(STATUSES))
    status.add_argument("--reason", help="free text, shown on the project's page")
    status.set_defaults(run=_status_set)
    for parser in (yank, unyank, remove, status):
        common.add_index(parser)


def _yank(arguments: argparse.Namespace) -> int:
    return _set_yank(arguments, arguments.reason)


def _unyank(arguments: argparse.Namespace) -> int:
    return _set_yank(arguments, None)


def _set_yank(arguments: argparse.Namespace, reason: str | None) -> int:
    spec, index = common.index(arguments)
    for filename in decisions.yank(spec, index, arguments.what, reason):
        print(filename)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    spec, index = common.index(arguments)
    removed = decisions.remove(spec, index, arguments.what)
    for file, trash in removed:
        print(f"{file.filename} -> {trash}")
    for sentence in decisions.answers_after_removal(spec, index, (file for file, _ in removed)):
        print(sentence, file=sys.stderr)
    return 0


def _status_set(arguments: argparse.Namespace) -> int:
    spec, index = common.index(arguments)
    decisions.set_status(spec, index, arguments.project, arguments.status, arguments.reason)
    return 0
