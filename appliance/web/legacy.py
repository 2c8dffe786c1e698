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
from appliance.site.pages import file_url, upload_time
from appliance.site.tree import Site
from appliance.web import address
from appliance.web.served import ServedIndex

_KINDS_BY_TRUST = ("bdist_wheel", "sdist", "bdist_egg")
_REMEMBERED_BYTES = 256 * 1024
_NOTHING = CoreMetadata({}, {}, "", is_utf8=True)


class ProjectJson:
    """A project, or one release of it, as JSON."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._site, self._kept = Site(index.spec), KeptMetadata(index.spec.state)

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, name: str, version: str | None = None
    ) -> None:
        if not names.is_name(name):
            raise falcon.HTTPNotFound(description=f"{name!r} is no project name")
        if name != names.normalize(name):
            tail = f"{version}/json" if version else "json"
            place = f"pypi/{names.normalize(name)}/{tail}"
            raise falcon.HTTPMovedPermanently(
                f"{self._index.spec.path}/{self._index.prefix}{place}"
            )
        with self._index.catalog.read() as reader:
            project = self._index.at(reader).project(name)
            last = reader.serial()
        found = _release(project, version) if project is not None else None
        if project is None or found is None:
            what = name if version is None else f"{name} {version}"
            raise falcon.HTTPNotFound(description=f"this index has no {what}")
        resp.content_type = falcon.MEDIA_JSON
        resp.media = self._body(req, project, *found, whole=version is None)
        resp.set_header("X-PyPI-Last-Serial", str(project.serial if version is None else last))
        resp.cache_control = ["no-cache"]

    on_head = on_get

    def _body(
        self,
        req: falcon.Request,
        project: Project,
        release: str,
        files: list[File],
        whole: bool,
    ) -> dict[str, Any]:
        spec = self._index.spec
        base = address.base(spec, req)
        packages = f"{base}/{spec.prefix(project.index)}packages/"
        page = f"{base}/{self._index.prefix}simple/{project.name}/"
        spelled = [file for file in files if file.version == release]
        metadata = self._metadata(project.index, spelled)
        body = {
            "info": _info(project, release, files, metadata, page),
            "urls": [_file(file, packages) for file in files],
            "last_serial": project.serial,
            "vulnerabilities": [],
            "ownership": {"roles": [], "organization": None},
        }
        if whole:
            releases: dict[str, list[dict[str, Any]]] = {}
            for file in project.offered:
                releases.setdefault(file.version, []).append(_file(file, packages))
            body["releases"] = releases
        return body

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


def _release(project: Project, version: str | None) -> tuple[str, list[File]] | None:
    """The release that is meant and its files, of every spelling of its version; without a version
    the latest, "" if there are no files."""
    wanted = project.latest if version is None else names.normalize_version(version)
    if wanted is None:
        return "", []
    files = project.release(wanted) if project.offered else []
    if not files:
        return None
    return (wanted if any(file.version == wanted for file in files) else files[0].version), files


def _info(
    project: Project, release: str, files: list[File], metadata: CoreMetadata, page: str
) -> dict[str, Any]:
    reasons = [file.yanked for file in files if file.yanked is not None]
    yanked = bool(files) and len(reasons) == len(files)

    def text(name: str) -> str:
        return metadata.text(name) or ""

    return {
        "name": project.display,
        "version": release,
        # Of files accepted before metadata was stored, all that is known is in the catalog.
        "summary": text("summary") or next((file.summary for file in files if file.summary), ""),
        "description": metadata.description,
        "description_content_type": metadata.text("description_content_type"),
        "keywords": ",".join(metadata.texts("keywords")) or text("keywords"),
        "license": text("license"),
        "license_expression": metadata.text("license_expression"),
        "license_files": metadata.texts("license_files") or None,
        "classifiers": metadata.texts("classifiers"),
        "author": text("author"),
        "author_email": text("author_email"),
        "maintainer": text("maintainer"),
        "maintainer_email": text("maintainer_email"),
        "requires_python": metadata.text("requires_python")
        or next((file.requires_python for file in files if file.requires_python), None),
        "platform": ",".join(metadata.texts("platforms")),
        "requires_dist": metadata.texts("requires_dist") or None,
        "provides_extra": metadata.texts("provides_extra") or None,
        "dynamic": metadata.texts("dynamic") or None,
        "project_urls": metadata.project_urls or None,
        "home_page": text("home_page"),
        "download_url": text("download_url"),
        "docs_url": None,
        "bugtrack_url": None,
        "package_url": page,
        "project_url": page,
        "release_url": page,
        "downloads": {"last_day": -1, "last_week": -1, "last_month": -1},
        "yanked": yanked,
        "yanked_reason": (reasons[0] or None) if yanked else None,
    }


def _file(file: File, packages: str) -> dict[str, Any]:
    time = upload_time(file)
    return {
        "filename": file.filename,
        "packagetype": file.kind,
        "python_version": file.python_version,
        "comment_text": "",
        "digests": {
            "md5": file.md5,
            "sha256": file.sha256,
            "blake2b_256": file.blake2b_256,
        },
        "md5_digest": file.md5,
        "size": file.size,
        "upload_time": time.partition(".")[0],
        "upload_time_iso_8601": time,
        "url": file_url(packages, file),
        "requires_python": file.requires_python,
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
        "core-metadata": {"sha256": file.core_metadata} if file.core_metadata else False,
        "has_sig": file.signature,
        "downloads": -1,
    }
