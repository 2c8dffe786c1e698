"""Versions of releases: their spelling, equality and order, also where PEP 440 does not apply."""

from functools import lru_cache

from packaging.version import InvalidVersion, Version

LONGEST = 220
"""Characters of a file name, and so of a name or version: of 255 bytes, ".metadata" and the suffix
of a temporary name must fit, too. Clients may send longer ones, which are not remembered."""


def normalize_version(version: str) -> str:
    """A version as PEP 440 spells it, or unchanged if it is not one of PEP 440 or too long for any
    file."""
    return _normalized(version) if len(version) <= LONGEST else version


@lru_cache(maxsize=4096)
def _normalized(version: str) -> str:
    for spelling in (version, version.replace("_", "-")):
        try:
            return str(Version(spelling))
        except InvalidVersion:
            continue
    return version


def is_version_of(filename_version: str, version: str) -> bool:
    """Whether a file of ``filename_version`` may have metadata of ``version``.

    File names have underscores for dashes (PEP 427). A file that was built for one machine may
    have a local version (PEP 440) in its name only, not in its metadata.
    """
    if max(len(filename_version), len(version)) > LONGEST:
        return False  # int() raises ValueError for thousands of digits
    in_name, in_metadata = normalize_version(filename_version), normalize_version(version)
    if in_name.replace("_", "-") == in_metadata.replace("_", "-"):
        return True
    try:
        named, stated = Version(in_name), Version(in_metadata)
    except InvalidVersion:
        return False
    return named == stated or (stated.local is None and named.public == stated.public)


@lru_cache(maxsize=1 << 16)
def version_key(version: str) -> tuple[int, Version | str]:
    """The key that sorts releases; versions that are not of PEP 440 come first."""
    try:
        return 1, Version(version)
    except InvalidVersion:
        return 0, version
