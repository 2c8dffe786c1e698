"""``pyindex confirm-deletions``: files that vanished in bulk were deleted on purpose."""

import click

from appliance import logs
from appliance.cli.options import index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.source import Source
from appliance.text import counted


@click.command("confirm-deletions", short_help="confirm that missing files were deleted")
@index_options
@json_option
def confirm_deletions(source: Source, index: str | None, as_json: bool) -> None:
    """Remove pending deletions from an index. When most files of an index vanish in bulk, or a disk
    below its packages directory is not mounted, they remain listed, and `pyindex status` reports
    it. This confirms that every file that is missing now was deleted on purpose.
    """
    from appliance.operations.update import confirm_deletions as confirm

    logs.to_stderr()
    spec, name = source.load_index(index)
    removed = confirm(spec, name)
    if as_json:
        print_json({"index": name, "removed": removed})
    else:
        print(f"{name}: {counted(removed, 'file')} removed")
