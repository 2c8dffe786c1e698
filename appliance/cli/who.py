"""``pyindex who``: who fetched a package file, from the access logs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import FILE, json_option
from appliance.cli.output import print_error, print_json
from appliance.text import counted, printable

if TYPE_CHECKING:
    from appliance.operations.accesslog import Fetch


@click.command(short_help="show who fetched a file, from the access logs")
@click.argument(
    "what", metavar="WHAT", help="a file name, or PROJECT==VERSION for all files of a release"
)
@click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    type=FILE,
    help="access log, with the rotated ones beside it; may be repeated (default:"
    " /var/log/pyindex/access.log)",
)
@click.option("--since", metavar="TIME", help="since a time, or as far back as 2h or 14d")
@json_option
def who(what: str, logs: tuple[Path, ...], since: str | None, as_json: bool) -> None:
    """Show who fetched a package file and when, from the access logs of nginx or of `serve
    --access-log`, rotated and compressed ones included: time, address, account or token, status,
    bytes, client. The user must be allowed to read the logs. Exits with 1 if a log cannot be read.
    """
    from appliance.index.matching import check_what
    from appliance.operations.accesslog import Unread, fetches, log_files
    from appliance.operations.moments import parse_moment
    from appliance.render import LOGS

    check_what(what)
    start = 0.0 if since is None else parse_moment(since) / 1e6
    files, unread = log_files(logs or [Path(LOGS) / "access.log"]), Unread()
    found = fetches(files, what, start, unread)
    if as_json:
        print_json([_document(fetch) for fetch in found])
    else:
        _print(list(found))
    if unread.lines:
        print_error(f"{counted(unread.lines, 'line')} of the logs not readable; skipped")


def _document(fetch: "Fetch") -> dict[str, Any]:
    return asdict(fetch) | {"time": fetch.time.isoformat()}


def _print(found: "list[Fetch]") -> None:
    for fetch in found:
        time = fetch.time.isoformat(sep=" ", timespec="seconds")
        parts = (time, fetch.client, fetch.actor or "-", fetch.status, fetch.sent, fetch.filename)
        print(printable(f"{' '.join(map(str, parts))} {fetch.agent or '-'}"))
    clients = len({fetch.client for fetch in found})
    print(f"{counted(len(found), 'fetch')} by {counted(clients, 'client')}")
