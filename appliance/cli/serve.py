"""``pyindex serve``: the whole index in one command, for a laptop or behind a proxy."""

import argparse
import subprocess
import sys
import threading
import time
from typing import Any

from gunicorn.app.base import BaseApplication

from appliance.cli import common
from appliance.spec import Spec
from appliance.web.app import create_app

_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "serve",
        help="serve an index, and follow its package directories",
        description="Serve an index: `pyindex serve DIR` needs no spec, and writes nothing into "
        "DIR; `pyindex serve -c SPEC` serves the indexes of a spec.",
    )
    common.add_source(parser, positional=True)
    parser.add_argument("--host", help="address to listen on (default: of the spec, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: of the spec, 8080)")
    parser.add_argument("--workers", type=int, help="processes that answer (default: of the spec)")
    parser.add_argument("--threads", type=int, help="threads of each (default: of the spec)")
    parser.add_argument("--access-log", metavar="FILE", help="log each request there; - is stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    spec = common.source(arguments)
    server = spec.server
    host = arguments.host or server.host
    port = server.port if arguments.port is None else arguments.port
    serve(
        spec,
        bind=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        workers=arguments.workers or server.workers,
        threads=arguments.threads or server.threads,
        accesslog=arguments.access_log,
        watch=[sys.executable, "-m", "appliance", "watch", "--with-parent", *_source(arguments)],
    )
    return 0


def serve(spec: Spec, bind: str, watch: list[str], **options: Any) -> None:
    """Run gunicorn with the app, and the command ``watch`` beside it.

    ``options`` are settings of gunicorn. Does not return: gunicorn ends the process when it is
    told to stop.
    """

    def start(server: Any) -> None:
        server.log.info("pyindex: try `pip install --index-url http://%s/simple/ NAME`", bind)
        threading.Thread(target=_keep_running, args=(watch,), daemon=True).start()

    fixed = {"worker_class": "gthread", "keepalive": 75, "control_socket_disable": True}
    _Server(spec, {"bind": bind, "when_ready": start, **fixed, **options}).run()


def _keep_running(command: list[str]) -> None:
    """Start the watch, and start it again whenever it ends; it ends by itself with us."""
    pause = _PAUSE_SECONDS
    while True:
        started = time.monotonic()
        subprocess.run(command, check=False)
        lasted = time.monotonic() - started
        pause = _PAUSE_SECONDS if lasted > _LONGEST_PAUSE_SECONDS else pause * 2
        time.sleep(min(pause, _LONGEST_PAUSE_SECONDS))


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, spec: Spec, options: dict[str, Any]) -> None:
        self._spec, self._options = spec, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return create_app(self._spec)


def _source(arguments: argparse.Namespace) -> list[str]:
    options = [str(arguments.directory)] if arguments.directory else []
    for name in ("spec", "state"):
        if value := getattr(arguments, name):
            options += [f"--{name}", str(value)]
    return options
