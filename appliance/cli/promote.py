"""``pyindex promote``: a release from one index to another."""

import click

from appliance import logs
from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source, check_index
from appliance.text import counted


@click.command(short_help="copy a release with its history to another index")
@click.argument("project", metavar="PROJECT", help="the project's name, in any spelling")
@click.argument("version", metavar="VERSION", help="the version of the release")
@click.option("--from", "origin", metavar="INDEX", required=True, help="the index that has it")
@click.option("--to", "target", metavar="INDEX", required=True, help="the index that gets it")
@source_options
@json_option
def promote(
    source: Source, project: str, version: str, origin: str, target: str, as_json: bool
) -> None:
    """Copy all files of a release from one index to another, with upload times, yanks, signatures
    and origins: all of them, or none. The policy of the receiving index must accept them. To repeat
    it changes nothing. Prints the new files.
    """
    from appliance.bundle.promotion import promote as run

    spec = source.load(is_change=True)
    for index in (origin, target):
        check_index(spec, index)
    with Progress("promoting") as progress:
        logs.to_stderr()
        promoted = run(spec, f"{project}=={version}", origin, target, progress.update)
    if as_json:
        print_json({"from": origin, "to": target, "new": promoted.new, "files": promoted.files})
        return
    for path in promoted.new:
        print(f"{target}: added {path}")
    if not promoted.new:
        print(f"{target}: has {counted(promoted.files, 'file')} of this release already")
