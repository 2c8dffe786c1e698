"""Whether a file's name and its metadata are about the same release."""

import re

from appliance.errors import Rejected
from appliance.index import names
from appliance.index.metadata import CoreMetadata
from appliance.index.names import Distribution
from appliance.index.versions import is_version_of

_UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def agrees(distribution: Distribution, fields: CoreMetadata) -> bool:
    """Return whether the file name and the metadata name the same release.

    Raises :class:`Rejected` for a wheel in which they differ, and for a file of another project.
    """
    name, version = fields.line("name"), fields.line("version")
    if name and version and is_release_of(distribution, name, version):
        return True
    if distribution.kind == "bdist_wheel":
        raise Rejected(f"METADATA {_disagreement(distribution, fields, name, version)}")
    if name and not _is_project_of(distribution, name):
        raise Rejected(f"PKG-INFO says {name}, the file name {release(distribution)}")
    return False


def is_release_of(distribution: Distribution, name: str, version: str) -> bool:
    """Return whether a project name and a version are those of the file name."""
    return _is_project_of(distribution, name) and is_version_of(distribution.version, version)


def release(distribution: Distribution) -> str:
    """Format the project and version of a file name for a message."""
    return f"{distribution.name} {distribution.version}"


def _disagreement(
    distribution: Distribution, fields: CoreMetadata, name: str | None, version: str | None
) -> str:
    if fields.description.startswith("\ufeff"):
        return "begins with a byte order mark: its fields cannot be read"
    if not name or not version:
        return f"has no {'Version' if name else 'Name'}"
    return f"says {name} {version}, the file name {release(distribution)}"


def _is_project_of(distribution: Distribution, name: str) -> bool:
    """Return whether ``name`` is the project of the file. It may have characters that a file name
    cannot have: setuptools writes a dash for those."""
    project = distribution.project
    return names.normalize(name) == project or (
        names.normalize(_UNSAFE_IN_NAME.sub("-", name)) == project
    )
