"""gunicorn with the application and a watcher, as ``pyindex serve`` runs them."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from appliance.catalog import readiness
from appliance.catalog.database import Catalog
from appliance.errors import PyindexError
from appliance.operations.watchlock import check_alone
from appliance.spec import Spec
from appliance.web.app import create_app
from appliance.web.watcher import WatcherProcess

_PROGRESS_SECONDS = 5.0

_Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serve(spec: Spec, watcher: WatcherProcess, **options: Any) -> None:
    """Run gunicorn with the app, and keep the ``watcher`` running.

    ``options`` are settings of gunicorn. Does not return: gunicorn ends the process when it is
    told to stop. Raises :class:`PyindexError` if another server publishes something else for the
    same state.
    """
    try:
        check_alone(spec)
    except PyindexError:
        watcher.stop()
        raise
    fixed = {
        "worker_class": "appliance.web.worker.Worker",
        "keepalive": 75,
        "control_socket_disable": True,
        "on_exit": lambda server: watcher.stop(),
    }
    Server(spec, watcher, {**fixed, **options}).run()


def mounted(app: _Wsgi, prefix: str) -> _Wsgi:
    """``app`` below the path ``prefix`` too (PEP 3333), which a proxy in front would strip."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == prefix and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
            headers = [("Location", f"{prefix}/{query}"), ("Content-Type", "text/plain")]
            start_response("301 Moved Permanently", [*headers, ("Content-Length", "0")])
            return []
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["SCRIPT_NAME"] += prefix
            environ["PATH_INFO"] = path.removeprefix(prefix) or "/"
        return app(environ, start_response)

    return answer if prefix else app


class Greeting:
    """Tells on the log, once all indexes were scanned in full, that clients are welcome; before
    that, how far the first scan is."""

    def __init__(self, spec: Spec, url: str) -> None:
        self._spec, self._url = spec, url
        self._told: str | None = None
        self._not_before = 0.0
        self._done = False

    def tell(self, say: Callable[[str], object]) -> None:
        """Say what is new; call this every second or so."""
        if self._done:
            return
        now = time.monotonic()
        try:
            # Closed again at once: workers are forked from this process.
            with closing(Catalog(self._spec.catalog)) as catalog, catalog.read() as reader:
                waiting = readiness.all_unscanned(reader, self._spec)
                files = sum(reader.counts(name)[1] for name in waiting)
        except PyindexError:
            return  # nothing is known yet, or /health tells
        if waiting:
            if now < self._not_before:
                return
            self._not_before = now + _PROGRESS_SECONDS
            line = f"pyindex: scanning {', '.join(waiting)}: {files} files so far"
        else:
            self._done = True
            line = f"pyindex: ready; try `pip install --index-url {self._url}/simple/ NAME`"
        if line != self._told:
            say(line)
        self._told = line


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Starts processes in its own thread only: a worker that is forked while another thread does
    so inherits that thread's pipes, and the thread waits for them for ever."""

    def manage_workers(self) -> None:
        self.app.watcher.keep()
        super().manage_workers()
        if self.app.greeting is None:
            self.app.greeting = Greeting(self.app.spec, f"{self.LISTENERS[0]}{self.app.spec.path}")
        self.app.greeting.tell(self.log.info)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with the app of ``spec``, which keeps its ``watcher`` running."""

    def __init__(self, spec: Spec, watcher: WatcherProcess, options: dict[str, Any]) -> None:
        self.watcher, self.spec = watcher, spec
        self.greeting: Greeting | None = None
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return mounted(create_app(self.spec), self.spec.path)

    def run(self) -> None:
        _Arbiter(self).run()
