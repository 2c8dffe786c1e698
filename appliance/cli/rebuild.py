"""``pyindex rebuild``: the catalog and all pages, from the package files."""

import click

from appliance import logs
from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source


@click.command(short_help="rebuild the catalog and all pages from the package files")
@source_options
@click.option("--accept-changes", is_flag=True, help="accept files whose bytes changed")
@json_option
def rebuild(source: Source, accept_changes: bool, as_json: bool) -> None:
    """Read all package files again, correct the catalog, and write all pages. Decisions stay. A
    damaged catalog is kept beside the new one, which gets every row that can be read. A file whose
    bytes changed without a change of size or mtime is rejected.
    """
    from appliance.operations.rebuild import rebuild as rebuild_catalog
    from appliance.operations.status import counts

    spec = source.load(is_change=True)
    with Progress("reading package files and publishing") as progress:
        logs.to_stderr()
        messages = progress.print_all(rebuild_catalog(spec, accept_changes), is_quiet=as_json)
    if as_json:
        print_json({"messages": messages, "indexes": counts(spec)})
