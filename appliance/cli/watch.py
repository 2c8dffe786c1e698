"""``pyindex watch``: the watcher, or one update."""

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import click

from appliance import logs
from appliance.cli.options import json_option, source_arguments
from appliance.cli.output import print_json
from appliance.cli.source import Source

if TYPE_CHECKING:
    from appliance.operations.watch import Watcher

_PARENT_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0


@click.command(short_help="watch the packages directories and publish changes")
@source_arguments
@click.option("--once", is_flag=True, help="update once and exit")
@click.option("--parent", metavar="PID", type=int, help="exit when this parent process has ended")
@json_option
def watch(source: Source, once: bool, parent: int | None, as_json: bool) -> None:
    """Watch the packages directories, accept new files and publish changes, until SIGTERM or
    SIGINT. `pyindex serve` runs a watcher on its own; run this one next to gunicorn with
    appliance.wsgi.
    """
    if as_json and not once:
        raise click.UsageError("--json requires --once")
    logs.to_stderr()
    if once:
        _update(source, as_json)
    else:
        _watch(source, parent)


def _update(source: Source, as_json: bool) -> None:
    from appliance.operations.status import counts
    from appliance.operations.update import update

    spec = source.load(is_change=True)
    update(spec)
    if as_json:
        print_json({"indexes": counts(spec)})


def _watch(source: Source, parent: int | None) -> None:
    from appliance.operations.watch import Watcher

    spec = source.load()
    logs.to_stderr(spec.server.log)
    watcher = Watcher(spec)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watcher.stop())
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, watcher), daemon=True).start()
    watcher.run()


def _end_with(parent: int, watcher: "Watcher") -> None:
    """Stop the watcher when its parent process has ended; exit if that takes too long."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    watcher.stop()
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)
