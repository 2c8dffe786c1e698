"""``pyindex trash list|restore``: removed files."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from appliance import logs
from appliance.cli.options import index_options, json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.source import Source, check_index

if TYPE_CHECKING:
    from appliance.bundle.trashed import Trashed


@click.group(short_help="list removed files, or return them to their index")
def trash() -> None:
    """List the files that `pyindex remove` moved to the trash, or return them to their index.
    `pyindex gc` deletes them after `keep.trash` from the spec.
    """


@trash.command("list", short_help="list removed files")
@source_options
@json_option
def list_command(source: Source, as_json: bool) -> None:
    """List removed files, the last one first: when it was removed (UTC), from which index, by which
    user, and its path in the trash.
    """
    from appliance.bundle.trashed import listed

    rows = [_row(each) for each in listed(source.load())]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        by = f" by {row['actor']}" if row["actor"] else ""
        print(f"{row['time']} {row['index'] or '?'} {row['filename']}{by} {row['trash']}")


def _row(each: "Trashed") -> dict[str, Any]:
    removal = each.removal
    return {
        "time": datetime.fromtimestamp(each.file.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "filename": each.file.filename,
        "size": each.size,
        "index": removal.index if removal else None,
        "path": removal.path if removal else None,
        "sha256": removal.detail if removal else None,
        "actor": removal.actor if removal else None,
        "trash": str(each.file.path),
    }


@trash.command(short_help="return removed files to their index")
@click.argument(
    "what", metavar="WHAT", help="a file name, or PROJECT==VERSION for all files of a release"
)
@index_options
@json_option
def restore(source: Source, index: str | None, what: str, as_json: bool) -> None:
    """Return removed files to the index and the path that they had, with their signatures: of each
    name the file that was removed last, all of them together. Yanks of these files still hold.
    """
    from appliance.bundle.trashed import restore as run

    spec = source.load(is_change=True)
    if index is not None:
        check_index(spec, index)
    logs.to_stderr()
    name, paths = run(spec, what, index)
    if as_json:
        print_json({"index": name, "restored": paths})
        return
    for path in paths:
        print(f"{name}: restored {path}")
