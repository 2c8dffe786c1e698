"""PyPI's JSON API (``/pypi/NAME/json``), and pypiserver's short form of it (``/NAME/json``)."""

from typing import Any
from urllib.parse import quote

import falcon

from appliance.index import names
from appliance.index.model import Project
from appliance.web import address, legacyjson
from appliance.web.legacyjson import Release
from appliance.web.served import ServedIndex
from appliance.web.storedmetadata import StoredMetadata


class ProjectJson:
    """The JSON document of a project, or of one release of it."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._metadata = StoredMetadata(index.spec)

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, name: str, version: str | None = None
    ) -> None:
        if not names.is_name(name):
            raise falcon.HTTPNotFound(description=f"{name!r} is not a project name")
        if name != names.normalize(name):
            raise self._moved(names.normalize(name), version)

        is_readable = self._index.readable(req)(name)
        with self._index.catalog.read() as reader:
            project = self._index.using(reader).project(name) if is_readable else None
            last_serial = reader.serial()
        release = legacyjson.release(project, version) if project is not None else None
        if project is None or release is None:
            subject = name if version is None else f"{name} {version}"
            raise falcon.HTTPNotFound(description=f"this index has no {subject}")

        resp.content_type = falcon.MEDIA_JSON
        resp.media = self._document(req, project, release, with_releases=version is None)
        serial = project.serial if version is None else last_serial
        resp.set_header("X-PyPI-Last-Serial", str(serial))
        resp.cache_control = ["no-cache"]
        self._index.keep_private(resp)

    on_head = on_get

    def _moved(self, name: str, version: str | None) -> falcon.HTTPMovedPermanently:
        prefix = f"{self._index.spec.path}/{self._index.prefix}"
        release = f"{quote(version, safe='+!')}/" if version else ""
        return falcon.HTTPMovedPermanently(f"{prefix}pypi/{name}/{release}json")

    def _document(
        self, req: falcon.Request, project: Project, release: Release, with_releases: bool
    ) -> dict[str, Any]:
        spec = self._index.spec
        base = address.base(spec, req)
        packages = f"{base}/{spec.prefix(project.index)}packages/"
        page = f"{base}/{self._index.prefix}simple/{project.name}/"
        spelled = [file for file in release.files if file.version == release.version]
        metadata = self._metadata.of_release(project.index, spelled)

        document = legacyjson.document(project, release, metadata, page, packages)
        if with_releases:
            document["releases"] = legacyjson.releases(project, packages)
        return document
