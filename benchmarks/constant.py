"""The least a gunicorn worker with falcon can do: answer with one page from memory."""

import os
from pathlib import Path

import falcon


class _Constant:
    def __init__(self, page: bytes) -> None:
        self._page = page

    def on_get(self, request: falcon.Request, response: falcon.Response, project: str) -> None:
        response.content_type = falcon.MEDIA_HTML
        response.data = self._page


def create_app() -> falcon.App:
    """Return the app; the page is the file that BENCHMARK_PAGE names."""
    app: falcon.App = falcon.App()
    app.add_route("/simple/{project}/", _Constant(Path(os.environ["BENCHMARK_PAGE"]).read_bytes()))
    return app
