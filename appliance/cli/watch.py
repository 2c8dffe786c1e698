"""``pyindex watch``: follow the package directories and publish."""

import argparse
import os
import signal
import threading
import time

from appliance.cli import common
from appliance.operations.update import update
from appliance.operations.watch import Watcher
from appliance.spec import Spec

_PARENT_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "watch",
        help="follow the package directories and publish",
        description="Follow the package directories, take in what changes, and publish pages. "
        "`pyindex serve` does this by itself; run it beside gunicorn on appliance.wsgi.",
    )
    common.add_source(parser, positional=True)
    parser.add_argument("--once", action="store_true", help="bring everything up to date and end")
    parser.add_argument(
        "--parent", metavar="PID", type=int, help="end when this process, which started it, does"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    return watch(common.source(arguments, changes=arguments.once), arguments.once, arguments.parent)


def watch(spec: Spec, once: bool = False, parent: int | None = None) -> int:
    """Follow the folders of ``spec`` until SIGTERM or SIGINT; with ``once``, look and end."""
    if once:
        update(spec)
        return 0
    watching = Watcher(spec)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watching.stop())
    if parent is not None:
        threading.Thread(target=_follow, args=(parent, watching), daemon=True).start()
    watching.run()
    return 0


def _follow(parent: int, watching: Watcher) -> None:
    """End with the parent, at the next good moment or after some seconds at any."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    watching.stop()
    time.sleep(_PATIENCE_SECONDS)
    os._exit(1)
