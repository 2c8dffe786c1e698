"""What the indexes of a spec have, and their problems: the facts of ``pyindex status``."""

from dataclasses import asdict
from typing import Any

from appliance.catalog.database import Catalog
from appliance.catalog.reader import Reader
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory
from appliance.operations.health import health
from appliance.operations.watchlock import is_watched
from appliance.spec import Spec

# Names of a packages directory that are read to list those that are ignored.
_NAMES = 50_000


def status(spec: Spec) -> dict[str, Any]:
    """Return state, serials and problems, and of each index its counts, rejections and ignored
    names. Raises :class:`CatalogError`."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        indexes = {name: _index(spec, reader, name) for name in spec.indexes}
        serial, published = reader.serial(), reader.mark("pages")

    condition = health(spec, catalog)
    return {
        "state": str(spec.state),
        "status": condition.status,
        "serial": serial,
        "published": published,
        "watched": is_watched(spec),
        "problems": condition.problems,
        "indexes": indexes,
    }


def counts(spec: Spec) -> dict[str, dict[str, int]]:
    """Return the number of projects and files of each index. Raises :class:`CatalogError`."""
    with Catalog(spec.catalog).read() as reader:
        return {name: _counts(reader, name) for name in spec.indexes}


def _index(spec: Spec, reader: Reader, name: str) -> dict[str, Any]:
    packages = spec.indexes[name].packages
    return {
        "packages": str(packages),
        **_counts(reader, name),
        "refused": [asdict(rejection) for rejection in reader.rejections(name)],
        "ignored": _ignored(PackagesDirectory(packages)),
    }


def _counts(reader: Reader, name: str) -> dict[str, int]:
    projects, files = reader.counts(name)
    return {"projects": projects, "files": files}


def _ignored(directory: PackagesDirectory) -> list[str]:
    try:
        return directory.ignored(_NAMES)
    except (OSError, DirectoryMissing):
        return []  # the watcher reports why
