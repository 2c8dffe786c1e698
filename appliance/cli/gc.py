"""``pyindex gc``: data that grows without limit, pruned to what the spec keeps."""

import click

from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.source import Source


@click.command(short_help="delete old trash, catalogs, journal entries and builds")
@source_options
@click.option("--dry-run", is_flag=True, help="print what would be deleted, and delete nothing")
@json_option
def gc(source: Source, dry_run: bool, as_json: bool) -> None:
    """Delete files in the trash, replaced catalogs, journal entries and built wheels that are older
    than the limits in `keep` of the spec. Only files with a name that pyindex gave them are
    deleted. Releases that `indexes.NAME.keep` does not keep are moved to the trash.
    """
    from appliance.operations.prune import prune

    verb, size, entries = "would remove" if dry_run else "removed", 0, []
    for removed in prune(source.load(is_change=True), dry_run):
        size += removed.size
        entries.append({"what": removed.what, "size": removed.size})
        if not as_json:
            print(f"{verb} {removed.what}")
    if as_json:
        print_json({"dry_run": dry_run, "removed": entries, "size": size})
    else:
        print(f"{verb} {size / 1e6:.1f} MB of files")
