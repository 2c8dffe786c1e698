"""PyPI's JSON API (``/pypi/NAME/json``), and pypiserver's short form of it (``/NAME/json``)."""

import os
from functools import lru_cache
from typing import Any

import falcon

from appliance.errors import Refused
from appliance.index import names
from appliance.index.metadata import MAX_METADATA, CoreMetadata, parse
from appliance.index.model import File, Project
from appliance.site.tree import Site
from appliance.web import address, legacyjson
from appliance.web.legacyjson import Release
from appliance.web.served import ServedIndex

_KINDS_BY_TRUST = ("bdist_wheel", "sdist", "bdist_egg")
_KEPT_BYTES = 256 * 1024
_NOTHING = CoreMetadata({}, "", is_utf8=True)


class ProjectJson:
    """The JSON document of a project, or of one release of it."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._site = Site(index.spec)

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, name: str, version: str | None = None
    ) -> None:
        if not names.is_name(name):
            raise falcon.HTTPNotFound(description=f"{name!r} is not a project name")
        if name != names.normalize(name):
            raise self._moved(names.normalize(name), version)

        with self._index.catalog.read() as reader:
            project = self._index.using(reader).project(name)
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

    on_head = on_get

    def _moved(self, name: str, version: str | None) -> falcon.HTTPMovedPermanently:
        prefix = f"{self._index.spec.path}/{self._index.prefix}"
        release = f"{version}/" if version else ""
        return falcon.HTTPMovedPermanently(f"{prefix}pypi/{name}/{release}json")

    def _document(
        self, req: falcon.Request, project: Project, release: Release, with_releases: bool
    ) -> dict[str, Any]:
        spec = self._index.spec
        base = address.base(spec, req)
        packages = f"{base}/{spec.prefix(project.index)}packages/"
        page = f"{base}/{self._index.prefix}simple/{project.name}/"
        spelled = [file for file in release.files if file.version == release.version]
        metadata = self._metadata(project.index, spelled)

        document = legacyjson.document(project, release, metadata, page, packages)
        if with_releases:
            document["releases"] = legacyjson.releases(project, packages)
        return document

    def _metadata(self, index: str, files: list[File]) -> CoreMetadata:
        """The core metadata of a release, from the file that can be trusted most; empty if it was
        not stored when the file was accepted. No request opens an archive."""
        for kind in _KINDS_BY_TRUST:
            for file in files:
                if file.kind != kind:
                    continue
                place = (
                    self._site.metadata if file.core_metadata else self._site.unpublished_metadata
                )
                try:
                    return _load(place(index, file.path), file.sha256)
                except (OSError, Refused):
                    continue  # none, or it has just been moved or replaced
        return _NOTHING


def _load(place: str, sha256: str) -> CoreMetadata:
    """The metadata stored at ``place``, of the file with this digest; kept if it is not large."""
    is_large = os.stat(place).st_size > _KEPT_BYTES  # noqa: PTH116
    return (_read if is_large else _kept)(place, sha256)


def _read(place: str, _sha256: str) -> CoreMetadata:
    with open(place, "rb") as file:  # noqa: PTH123 - a text, as the site gives it
        return parse(file.read(MAX_METADATA))


_kept = lru_cache(maxsize=64)(_read)
