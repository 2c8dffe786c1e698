"""The least a gunicorn worker with falcon can do: answer with pages that it holds in memory."""

import os
from pathlib import Path

import falcon


class _Constant:
    def __init__(self, pages: dict[str, bytes]) -> None:
        self._pages = pages

    def on_get(self, request: falcon.Request, response: falcon.Response, project: str) -> None:
        response.content_type = falcon.MEDIA_HTML
        response.data = self._pages[project]


def create_app() -> "falcon.App[falcon.Request, falcon.Response]":
    """Return the app; BENCHMARK_PAGES names the files, each in a folder named as its project."""
    pages = map(Path, os.environ["BENCHMARK_PAGES"].split(os.pathsep))
    app = falcon.App()
    app.add_route("/simple/{project}/", _Constant({p.parent.name: p.read_bytes() for p in pages}))
    return app
