"""gunicorn, as ``pyindex serve`` runs it."""

from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from appliance.cli.serve import Beside
from appliance.spec import Spec
from appliance.web.app import create_app


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
        return create_app(self._spec)

    def run(self) -> None:
        _Arbiter(self).run()
