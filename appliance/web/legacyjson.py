"""The documents of PyPI's JSON API, as values that :mod:`json` writes. No request, no disk."""

from typing import Any, NamedTuple

from appliance.index.metadata import CoreMetadata
from appliance.index.model import File, Project
from appliance.index.versions import normalize_version
from appliance.site.pages import file_url, upload_time


class Release(NamedTuple):
    """A version, "" for a project without files, and the files of all its spellings."""

    version: str
    files: list[File]


def release(project: Project, version: str | None) -> Release | None:
    """The release ``version``, however that is spelled, or without a version the latest; ``None``
    if the project has no such release."""
    version = project.latest if version is None else normalize_version(version)
    if version is None:
        return Release("", [])
    files = project.release(version) if project.offered else []
    if not files:
        return None
    is_spelled_so = any(file.version == version for file in files)
    return Release(version if is_spelled_so else files[0].version, files)


def document(
    project: Project, release: Release, metadata: CoreMetadata, page: str, packages: str
) -> dict[str, Any]:
    """The document of a release. ``page`` is the URL of the project's page; URLs of files begin
    with ``packages``."""
    return {
        "info": _info(project, release, metadata, page),
        "urls": [_file(file, packages) for file in release.files],
        "last_serial": project.serial,
        "vulnerabilities": [],
        "ownership": {"roles": [], "organization": None},
    }


def releases(project: Project, packages: str) -> dict[str, list[dict[str, Any]]]:
    """The files of each release, by version."""
    files: dict[str, list[dict[str, Any]]] = {}
    for file in project.offered:
        files.setdefault(file.version, []).append(_file(file, packages))
    return files


def _info(project: Project, release: Release, metadata: CoreMetadata, page: str) -> dict[str, Any]:
    files = release.files
    reasons = [file.yanked for file in files if file.yanked is not None]
    yanked = bool(files) and len(reasons) == len(files)

    def text(name: str) -> str:
        return metadata.text(name) or ""

    return {
        "name": project.display,
        "version": release.version,
        # Metadata of files that an older version accepted was not stored: ask the catalog.
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
    """An element of ``urls``."""
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
