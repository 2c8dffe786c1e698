"""``pyindex backup`` and ``pyindex restore``: the catalog, which package files cannot replace."""

from pathlib import Path

import click

from appliance import logs
from appliance.cli.options import FILE, json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source


@click.command(short_help="copy the catalog into the backup directory")
@source_options
@json_option
def backup(source: Source, as_json: bool) -> None:
    """Copy the catalog (facts, decisions and journal) and the tokens into the backup directory:
    `backup.directory` from the spec, or `backups` in the state directory. The index may be running.
    Deletes older backups of the same catalog beyond `backup.keep`; package files are not copied.
    """
    from appliance.operations.backup import backup as back_up

    path = back_up(source.load())
    if as_json:
        print_json({"path": str(path)})
    else:
        print(path)


@click.command(short_help="replace the catalog with a backup")
@click.argument("copy", metavar="FILE", type=FILE, help="file that `backup` wrote")
@source_options
@json_option
def restore(source: Source, copy: Path, as_json: bool) -> None:
    """Replace the catalog with a backup, update it from the package files, and write all pages. The
    index must not be running. The replaced catalog is kept beside the new one. Tokens are restored
    if the directory of tokens is missing.
    """
    from appliance.operations.restore import restore as restore_catalog
    from appliance.operations.status import counts

    spec = source.load()
    with Progress("restoring the catalog and publishing") as progress:
        logs.to_stderr()
        messages = progress.print_all(restore_catalog(spec, copy), is_quiet=as_json)
    if as_json:
        print_json({"messages": messages, "indexes": counts(spec)})
