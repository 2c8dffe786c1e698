"""gunicorn, as ``pyindex serve`` runs it."""

from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from appliance.cli.serve import Beside
from appliance.spec import Spec
from appliance.web.app import create_app

_Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def mounted(app: _Wsgi, prefix: str) -> _Wsgi:
    """``app`` below the path ``prefix`` too (PEP 3333), which a proxy in front would strip."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == prefix or path.startswith(f"{prefix}/"):
            environ["SCRIPT_NAME"] += prefix
            environ["PATH_INFO"] = path.removeprefix(prefix) or "/"
        return app(environ, start_response)

    return answer if prefix else app


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Starts processes in its own thread only: a worker that is forked while another thread does
    so inherits that thread's pipes, and the thread waits for them for ever."""

    def manage_workers(self) -> None:
        self.app.beside.keep()
        super().manage_workers()


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with the app of ``spec``, which keeps a process running ``beside`` it."""

    def __init__(self, spec: Spec, beside: Beside, options: dict[str, Any]) -> None:
        self.beside = beside
        self._spec, self._options = spec, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return mounted(create_app(self._spec), self._spec.path)

    def run(self) -> None:
        _Arbiter(self).run()
