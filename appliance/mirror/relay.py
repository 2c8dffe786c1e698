"""The upstreams as one index for uv, on a loopback port while a run plans.

uv reads project pages and core metadata through the client, which asks the upstreams once for all
targets and knows which projects were asked for. Proxies, certificates and passwords are the
client's; uv has none of them. The path begins with a secret, so that no other user of the machine
reads the upstreams.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from appliance.errors import NotFound, PyindexError
from appliance.mirror.remote import FactReader
from appliance.upstream import RemoteFile, RemoteProject
from appliance.upstream.pages import JSON

_HOST = "127.0.0.1"
_METADATA = ".metadata"


class Relay:
    """An index of what ``reader`` reads, to be used in ``async with``."""

    def __init__(self, reader: FactReader) -> None:
        self._reader = reader
        self._pages: dict[str, bytes] = {}

    async def __aenter__(self) -> "Relay":
        secret = secrets.token_urlsafe(16)
        app = web.Application()
        app.add_routes(
            [
                web.get(f"/{secret}/{{project}}/", self._page),
                web.get(f"/{secret}/{{project}}/{{filename}}", self._file),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{_HOST}:{port}/{secret}/"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    # --- answers -------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["project"]
        try:
            project = await self._reader.client.project(name)
        except (PyindexError, OSError) as error:
            return _failed(error)
        if project is None:
            return web.Response(status=404)
        if name not in self._pages:
            self._pages[name] = _page(project)
        return web.Response(body=self._pages[name], headers={"Content-Type": JSON})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Core metadata, or an sdist, whose metadata is in it."""
        filename = request.match_info["filename"]
        name = filename.removesuffix(_METADATA)
        try:
            file = await self._find(request.match_info["project"], name)
            if name != filename:
                return web.Response(body=await self._reader.metadata(file))
            return web.FileResponse(await self._reader.fetched(file))
        except (PyindexError, OSError) as error:
            return _failed(error)

    async def _find(self, project: str, filename: str) -> RemoteFile:
        found = await self._reader.client.project(project)
        file = by_name(found).get(filename)
        if file is None:
            raise NotFound(f"{filename}: no such file")
        return file


def by_name(project: RemoteProject | None) -> Mapping[str, RemoteFile]:
    """The files of a project by their names: the first of each name, as uv sees it."""
    return {file.filename: file for file in reversed(project.files if project else ())}


def _page(project: RemoteProject) -> bytes:
    """The page of a project (PEP 691), of files that are next to it."""
    files = [_entry(file) for file in by_name(project).values()]
    page = {"meta": {"api-version": "1.1"}, "name": project.name, "files": files}
    return json.dumps(page, separators=(",", ":")).encode()


def _entry(file: RemoteFile) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": file.filename,
        "hashes": file.hashes,
        "requires-python": file.requires_python,
        "yanked": False if file.yanked is None else file.yanked or True,
    }
    if file.filename.endswith(".whl"):
        entry["core-metadata"] = True
    return entry


def _failed(error: PyindexError | OSError) -> web.Response:
    """An answer that ends uv, which then has no answer either."""
    return web.Response(status=404 if isinstance(error, NotFound) else 502)
