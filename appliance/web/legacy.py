"""PyPI's JSON API (``/pypi/NAME/json``), and pypiserver's short form of it (``/NAME/json``)."""

import contextlib
import hashlib
import os
from functools import lru_cache
from typing import Any

import falcon

from appliance.catalog.metadata import KeptMetadata
from appliance.errors import Rejected
from appliance.index import names
from appliance.index.metadata import MAX_METADATA, CoreMetadata, parse
from appliance.index.model import File, Project
from appliance.site.tree import Site
from appliance.web import address, legacyjson
from appliance.web.legacyjson import Release
from appliance.web.served import ServedIndex

_KINDS_BY_TRUST = ("bdist_wheel", "sdist", "bdist_egg")
_REMEMBERED_BYTES = 256 * 1024
_NOTHING = CoreMetadata({}, {}, "", is_utf8=True)


class ProjectJson:
    """The JSON document of a project, or of one release of it."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._site, self._kept = Site(index.spec), KeptMetadata(index.spec.state)

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
                if file.kind == kind and (metadata := self._stored(index, file)) is not None:
                    return metadata
        return _NOTHING

    def _stored(self, index: str, file: File) -> CoreMetadata | None:
        """The metadata of one file; ``None`` if there is none, or it has just been moved or
        replaced. What a page promises is kept beside the catalog until it is published."""
        paths = [self._kept.path(index, file.path)]
        if file.core_metadata is not None:
            paths.insert(0, self._site.metadata(index, file.path))
        for path in paths:
            with contextlib.suppress(OSError, Rejected):
                return _load(path, file.core_metadata, file.sha256)
        return None


def _load(path: str, core_metadata: str | None, sha256: str) -> CoreMetadata:
    """The metadata at ``path``, of the file with the digest ``sha256``; remembered if it is not
    large. Raises :class:`Rejected` for other bytes than those of the digest ``core_metadata``."""
    is_large = os.stat(path).st_size > _REMEMBERED_BYTES  # noqa: PTH116
    return (_read if is_large else _remembered)(path, core_metadata, sha256)


def _read(path: str, core_metadata: str | None, _sha256: str) -> CoreMetadata:
    with open(path, "rb") as file:  # noqa: PTH123 - a text, as the site gives it
        raw = file.read(MAX_METADATA)
    if core_metadata not in (None, hashlib.sha256(raw).hexdigest()):
        raise Rejected("the metadata of another file")
    return parse(raw)


_remembered = lru_cache(maxsize=64)(_read)
