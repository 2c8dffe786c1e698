"""``pyindex log``: who changed what and when, from the journal."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import Number, source_options
from appliance.cli.source import Source, check_index
from appliance.errors import PyindexError
from appliance.text import printable

if TYPE_CHECKING:
    from appliance.index.model import Change

_ENTRIES = 100
_MOST = 1_000_000_000


@click.command(short_help="show who changed what and when")
@source_options
@click.option("--index", help="changes of this index only")
@click.option("--project", help="changes of this project only, in any spelling of its name")
@click.option("--action", "actions", multiple=True, help="changes of this kind only, such as added")
@click.option("--actor", help="changes by this account or user only")
@click.option("--since", metavar="TIME", help="changes since a time, or as far back as 2h or 14d")
@click.option(
    "--last",
    metavar="N",
    type=Number(0, _MOST),
    help=f"number of entries (default: {_ENTRIES}, or all with --since)",
)
@click.option("-f", "--follow", is_flag=True, help="wait for further changes and print them")
@click.option("--json", "as_json", is_flag=True, help="print a JSON document per line and entry")
def log(
    source: Source,
    index: str | None,
    project: str | None,
    actions: tuple[str, ...],
    actor: str | None,
    since: str | None,
    last: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the journal: each change with its time (UTC), serial, index, file and digest, and who
    made it from which address. Changes without an actor are those of the watcher: files that were
    copied, deleted or moved.
    """
    from appliance.catalog.journal import ACTIONS, Filter
    from appliance.index.names import normalize
    from appliance.operations import log as journal
    from appliance.operations.moments import parse_moment

    spec = source.load()
    if index is not None:
        check_index(spec, index)
    if unknown := set(actions).difference(ACTIONS):
        raise PyindexError(f"action {min(unknown)!r} not found; expected {', '.join(ACTIONS)}")
    start = None if since is None else parse_moment(since)
    chosen = Filter(start, index, normalize(project) if project else None, actions, actor)
    if last is None and since is None:
        last = _ENTRIES
    for change in journal.entries(spec, chosen, last, follow):
        print(json.dumps(_document(change)) if as_json else _line(change), flush=follow)


def _document(change: "Change") -> dict[str, Any]:
    from appliance.operations.log import digest

    sha256 = digest(change)
    return {
        "serial": change.serial,
        "time": _time(change, "milliseconds") + "Z",
        "index": change.index,
        "project": change.project,
        "action": change.action,
        "path": change.path,
        "filename": change.filename,
        "version": change.version,
        "sha256": sha256,
        "detail": None if sha256 else change.detail,
        "actor": change.actor,
        "address": change.address,
    }


def _line(change: "Change") -> str:
    from appliance.operations.log import digest

    sha256 = digest(change)
    subject = change.path or change.filename or change.project or "catalog"
    detail = f"sha256:{sha256}" if sha256 else change.detail
    parts = [
        _time(change, "seconds").replace("T", " "),
        str(change.serial),
        change.index or "-",
        change.action,
        subject,
        f"({detail})" if detail else "",
        f"by {change.actor}" if change.actor else "",
        f"from {change.address}" if change.address else "",
    ]
    return printable(" ".join(filter(None, parts)))


def _time(change: "Change", precision: str) -> str:
    moment = datetime.fromtimestamp(change.time / 1e6, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec=precision)
