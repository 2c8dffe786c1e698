"""Decisions of operators about files and projects: yank, unyank, remove, status-set."""

import sys

import click

from appliance.cli.options import Function, index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.source import Source

# As :data:`appliance.index.model.STATUSES`, which takes long to import.
_STATUSES = ("active", "archived", "quarantined", "deprecated")


def _what_argument(function: Function) -> Function:
    text = "a file name, or PROJECT==VERSION for all files of a release"
    return click.argument("what", metavar="WHAT", help=text)(function)


@click.command(short_help="yank files: installers skip them unless pinned (PEP 592)")
@_what_argument
@click.option("--reason", default="", help="text that installers show when they install the file")
@index_options
@json_option
def yank(source: Source, index: str | None, what: str, reason: str, as_json: bool) -> None:
    """Yank files (PEP 592): installers skip them unless a requirement pins their version. Prints
    the files that changed.
    """
    _set_yank(source, index, what, reason, as_json)


@click.command(short_help="undo a yank")
@_what_argument
@index_options
@json_option
def unyank(source: Source, index: str | None, what: str, as_json: bool) -> None:
    """Undo a yank: installers use the files again. Prints the files that changed."""
    _set_yank(source, index, what, None, as_json)


def _set_yank(
    source: Source, index: str | None, what: str, reason: str | None, as_json: bool
) -> None:
    from appliance.operations import decisions

    spec, name = source.load_index(index)
    filenames = decisions.yank(spec, name, what, reason)
    if as_json:
        print_json({"index": name, "changed": filenames})
    else:
        print(*filenames, sep="\n", end="\n" if filenames else "")


@click.command(short_help="move files from the packages directory to the trash")
@_what_argument
@index_options
@json_option
def remove(source: Source, index: str | None, what: str, as_json: bool) -> None:
    """Remove files from an index. They are moved from the packages directory to `trash` in the
    state directory; the journal keeps their names and digests.
    """
    from appliance.operations import decisions

    spec, name = source.load_index(index)
    removed = decisions.remove(spec, name, what)
    messages = list(decisions.answers_after_removal(spec, name, (file for file, _ in removed)))
    files = [{"filename": file.filename, "path": file.path, "trash": to} for file, to in removed]

    if as_json:
        print_json({"index": name, "removed": files, "messages": messages})
        return
    for file in files:
        print(f"{file['filename']} -> {file['trash']}")
    for message in messages:
        print(message, file=sys.stderr)


@click.command("status-set", short_help="set the status of a project (PEP 792)")
@click.argument("project", metavar="PROJECT", help="the project's name, in any spelling")
@click.argument("status", metavar="STATUS", type=click.Choice(_STATUSES), help=", ".join(_STATUSES))
@click.option("--reason", help="text that is shown on the project's page")
@index_options
@json_option
def status_set(
    source: Source,
    index: str | None,
    project: str,
    status: str,
    reason: str | None,
    as_json: bool,
) -> None:
    """Set the status of a project (PEP 792). Installers show a warning for `archived` and
    `deprecated` projects; a `quarantined` project offers no files; `active` is the default.
    """
    from appliance.operations import decisions

    spec, name = source.load_index(index)
    decisions.set_status(spec, name, project, status, reason)
    if as_json:
        print_json({"index": name, "project": project, "status": status, "reason": reason})
