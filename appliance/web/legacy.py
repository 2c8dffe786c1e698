"""PyPI's JSON API (``/pypi/NAME/json``), and pypiserver's short form of it (``/NAME/json``)."""

from typing import Any

import falcon
from packaging.metadata import RawMetadata, parse_email

from appliance.errors import Refused
from appliance.index import archive, names
from appliance.index.catalog import Catalog
from appliance.index.folder import Folder
from appliance.index.model import File, Project
from appliance.index.pages import file_url, upload_time
from appliance.index.publish import resolve
from appliance.spec import Spec
from appliance.web import address

_KINDS_BY_TRUST = ("bdist_wheel", "sdist", "bdist_egg")


class ProjectJson:
    """A project, or one release of it, as JSON."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self._spec, self._catalog, self._index = spec, catalog, index

    def on_get(
        self, req: falcon.Request, resp: falcon.Response, name: str, version: str | None = None
    ) -> None:
        if not names.is_name(name):
            raise falcon.HTTPNotFound(description=f"{name!r} is no project name")
        if name != names.normalize(name):
            tail = f"{version}/json" if version else "json"
            place = f"pypi/{names.normalize(name)}/{tail}"
            raise falcon.HTTPMovedPermanently(
                f"{self._spec.path}/{self._spec.prefix(self._index)}{place}"
            )
        with self._catalog.read() as reader:
            project = resolve(reader, self._spec, self._index, name)
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
        base = address.base(self._spec, req)
        packages = f"{base}/{self._spec.prefix(project.index)}packages/"
        page = f"{base}/{self._spec.prefix(self._index)}simple/{project.name}/"
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

    def _metadata(self, index: str, files: list[File]) -> RawMetadata:
        """The core metadata of a release, from the file that can be trusted most."""
        folder = Folder(self._spec.indexes[index].packages)
        for kind in _KINDS_BY_TRUST:
            for file in files:
                if file.kind != kind:
                    continue
                try:
                    raw = archive.read_metadata(folder.locate(file.path))
                except (OSError, Refused):
                    continue  # it has just been moved or replaced
                if raw is not None:
                    return parse_email(raw)[0]
        return {}


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
    project: Project, release: str, files: list[File], metadata: RawMetadata, page: str
) -> dict[str, Any]:
    reasons = [file.yanked for file in files if file.yanked is not None]
    yanked = bool(files) and len(reasons) == len(files)
    urls = metadata.get("project_urls") or None
    return {
        "name": project.display,
        "version": release,
        "summary": metadata.get("summary", ""),
        "description": metadata.get("description", ""),
        "description_content_type": metadata.get("description_content_type"),
        "keywords": ",".join(metadata.get("keywords", [])),
        "license": metadata.get("license", ""),
        "license_expression": metadata.get("license_expression"),
        "license_files": metadata.get("license_files"),
        "classifiers": metadata.get("classifiers", []),
        "author": metadata.get("author", ""),
        "author_email": metadata.get("author_email", ""),
        "maintainer": metadata.get("maintainer", ""),
        "maintainer_email": metadata.get("maintainer_email", ""),
        "requires_python": metadata.get("requires_python"),
        "platform": ",".join(metadata.get("platforms", [])),
        "requires_dist": metadata.get("requires_dist"),
        "provides_extra": metadata.get("provides_extra"),
        "dynamic": metadata.get("dynamic"),
        "project_urls": urls,
        "home_page": metadata.get("home_page", ""),
        "download_url": metadata.get("download_url", ""),
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
