"""``pyindex take-over``: the files of another index server."""

import sys
from pathlib import Path

import click

from appliance import logs
from appliance.cli.options import DIRECTORY, index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source
from appliance.text import counted

# As :data:`appliance.bundle.takeover.KINDS`, which takes long to import.
_KINDS = ("bandersnatch", "devpi", "pypiserver")


@click.command("take-over", short_help="take the files of another index server into an index")
@click.argument("kind", metavar="SERVER", type=click.Choice(_KINDS), help=", ".join(_KINDS))
@click.argument(
    "path",
    metavar="PATH",
    type=DIRECTORY,
    help="its directory: of the mirror, of an export by devpi-export, of the package files",
)
@click.option("--from", "origin", metavar="USER/INDEX", help="the index of devpi")
@index_options
@json_option
def take_over(
    source: Source, index: str | None, kind: str, path: Path, origin: str | None, as_json: bool
) -> None:
    """Copy the files of another index server into an index, all of them or none, with upload times,
    yanks and owners as far as the server has them. Nothing is changed there. To repeat it adds what
    is new. Prints the number of new files.
    """
    from appliance.bundle.takeover import take_over as run

    spec, name = source.load_index(index)
    with Progress("taking over") as progress:
        logs.to_stderr()
        taken = run(spec, name, kind, path, origin, progress.update)
    if as_json:
        facts = {"index": name, "new": taken.new, "files": taken.files}
        print_json(facts | {"messages": taken.messages})
        return
    for message in taken.messages:
        print(message, file=sys.stderr)
    print(f"{name}: {len(taken.new)} new of {counted(taken.files, 'file')}")
