"""gunicorn with the application and a watcher, as ``pyindex serve`` runs them."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from appliance.errors import PyindexError
from appliance.operations.watchlock import check_alone
from appliance.spec import Spec
from appliance.web.app import create_app
from appliance.web.child import Child
from appliance.web.front import Front
from appliance.web.logger import JsonLogger
from appliance.web.metrics import counters
from appliance.web.startup import StartupLog

_MEMORY = "/dev/shm"  # noqa: S108 - files there are as private as elsewhere
_Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serve(spec: Spec, watcher: Child, front: Front | None, **options: Any) -> None:
    """Run gunicorn with the app, and keep the ``watcher`` and nginx in ``front`` running.

    ``options`` are settings of gunicorn. Does not return: gunicorn ends the process on SIGTERM.
    Raises :class:`PyindexError` if another server publishes another spec to the same state.
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
        # A worker that does not touch its file for 30 seconds is killed: not because of a disk.
        "worker_tmp_dir": _MEMORY if os.access(_MEMORY, os.W_OK) else None,
        # Without the user: clients that are set up wrongly send a token there.
        "access_log_format": '%(h)s - - %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
        "logger_class": JsonLogger if spec.server.log == "json" else Logger,
        "on_exit": lambda server: watcher.stop(),
    }
    Server(spec, watcher, front, {**fixed, **options}).run()


def mounted(app: _Wsgi, prefix: str) -> _Wsgi:
    """``app`` also below the path ``prefix`` (PEP 3333), which a proxy in front would strip."""

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


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's main process, which also keeps the watcher and nginx running.

    Processes are started in this one thread only: a worker that is forked while another thread
    starts one inherits that thread's pipes, and the thread waits for them forever.
    """

    def manage_workers(self) -> None:
        self.app.watcher.keep()
        front = self.app.front
        if front is not None:
            if front.child.has_failed_to_start:
                self.halt(reason=f"nginx cannot listen at {front.url}, see above", exit_status=1)
            front.child.keep()
        super().manage_workers()
        if self.app.startup is None:  # the address is known now, also for port 0
            url = front.url if front is not None else self.LISTENERS[0]
            self.app.startup = StartupLog(self.app.spec, self.app.spec.url or str(url))
        self.app.startup.report(self.log.info)

    def stop(self, graceful: bool = True) -> None:
        """Stop workers, which still answer what nginx has accepted: nginx takes no more."""
        if self.app.front is not None:
            self.app.front.child.stop(signal.SIGQUIT if graceful else signal.SIGTERM)
        super().stop(graceful)


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with the application of ``spec``, its ``watcher``, and what is in ``front``."""

    def __init__(
        self, spec: Spec, watcher: Child, front: Front | None, options: dict[str, Any]
    ) -> None:
        self.watcher, self.front, self.spec = watcher, front, spec
        self.startup: StartupLog | None = None
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return mounted(create_app(self.spec), self.spec.path)

    def run(self) -> None:
        counters(self.spec).clear()
        _Arbiter(self).run()
