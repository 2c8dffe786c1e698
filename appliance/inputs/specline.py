"""One requirement as pip takes it: a specifier (PEP 508), a URL, or a path of this machine."""

import os
import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from appliance.errors import PyindexError
from appliance.index import names
from appliance.inputs import unbuilt
from appliance.inputs.demand import Unbuilt, Wanted
from appliance.inputs.urls import filename_of, url_path

_SYSTEMS = ("git", "hg", "bzr", "svn")
_SCHEMES = ("http", "https", "file", "ftp", "ssh", "sftp")
_ARCHIVES = (
    *(".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz"),
    *(".tlz", ".tar.lz", ".tar.lzma"),
)
_EXTRAS = re.compile(r"^(.+)(\[[^\]]+\])$")
_HASH = re.compile(r"[#&](sha1|sha224|sha256|sha384|sha512|md5)=([a-fA-F0-9]+)")
_EGG = re.compile(r"[#&]egg=([^&\[]+)")
_HAS_URL = re.compile(r"^\s*[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@")


def parse(text: str, origin: str, hashes: frozenset[str] = frozenset()) -> Wanted | Unbuilt:
    """The requirement that ``text`` states; ``hashes`` are those given next to it.

    Paths are relative to the current directory, as in pip. Raises :class:`PyindexError`.
    """
    location, marker = _split_marker(text)
    if _is_url(location):
        return _from_url(text, location, "", marker, origin, hashes)
    if not _HAS_URL.match(location) and (path := _path(location)):
        return _from_path(text, path, marker, origin, hashes)
    return _from_specifier(text, origin, hashes)


def parse_editable(text: str, origin: str) -> Unbuilt:
    """The requirement of an ``-e`` line, which is never a package file."""
    line, kind = f"-e {text}", _built_kind(text) or "a directory"
    if _HAS_URL.match(text):
        requirement = _requirement(text, origin)
        return unbuilt.from_requirement(line, origin, kind, requirement, requirement.url or "")
    location, marker = _split_marker(text)
    if _is_url(location):
        return unbuilt.from_url(line, origin, kind, location, marker=marker)
    path, extras = _split_extras(Path(os.path.abspath(location)))  # noqa: PTH100
    return unbuilt.from_url(line, origin, kind, path.as_uri(), extras, marker)


def _from_specifier(text: str, origin: str, hashes: frozenset[str]) -> Wanted | Unbuilt:
    requirement = _requirement(text, origin)
    if requirement.url is None:
        return Wanted(requirement, origin, hashes)
    if kind := _built_kind(requirement.url) or _source_kind(requirement.url):
        return unbuilt.from_requirement(text, origin, kind, requirement, requirement.url)
    return Wanted(requirement, origin, hashes | _url_hashes(requirement.url))


def _requirement(text: str, origin: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        has_operator = re.search(r"==|[<>!~]=|[<>]", text) is not None
        advice = "write == for =" if "=" in text and not has_operator else "write NAME==VERSION"
        raise PyindexError(f"{origin}: {text!r}: {reason}; {advice}") from None


def _from_url(
    text: str, url: str, extras: str, marker: str, origin: str, hashes: frozenset[str]
) -> Wanted | Unbuilt:
    """The requirement of a URL without a name: the name is that of the file."""
    if kind := _built_kind(url) or _source_kind(url):
        return unbuilt.from_url(text, origin, kind, url, extras, marker)
    name = _project(url, origin)
    requirement = _requirement(f"{name}{extras} @ {url}{marker}", origin)
    return Wanted(requirement, origin, hashes | _url_hashes(url))


def _from_path(
    text: str, path: Path, marker: str, origin: str, hashes: frozenset[str]
) -> Wanted | Unbuilt:
    path, extras = _split_extras(path)
    if path.is_dir():
        return unbuilt.from_url(text, origin, "a directory", path.as_uri(), extras, marker)
    if not path.is_file():
        raise PyindexError(f"{origin}: {path}: not found; correct the path")
    return _from_url(text, path.as_uri(), extras, marker, origin, hashes)


def _split_extras(path: Path) -> tuple[Path, str]:
    """A path, and the extras behind it: ``lib`` and ``[fast]``."""
    match = _EXTRAS.match(str(path))
    return (Path(match[1]), match[2]) if match else (path, "")


def _path(location: str) -> Path | None:
    """The absolute path that ``location`` is, if it is one by its looks."""
    stripped = _EXTRAS.sub(r"\1", location)
    has_separator = os.sep in stripped or stripped.startswith(".")
    if has_separator or stripped.lower().endswith(_ARCHIVES):
        return Path(os.path.abspath(location))  # noqa: PTH100  # `..` must vanish as in pip
    return None


def _split_marker(text: str) -> tuple[str, str]:
    """Text before the marker, and ``; marker`` or nothing. A URL may have a semicolon."""
    location, separator, marker = text.partition("; " if _is_url(text) else ";")
    marker = marker.strip()
    return location.strip(), f" ; {marker}" if separator and marker else ""


def _is_url(text: str) -> bool:
    scheme = _scheme(text)
    return scheme in _SCHEMES or scheme.partition("+")[0] in _SYSTEMS


def _scheme(text: str) -> str:
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", text)
    return match[1].lower() if match else ""


def _built_kind(url: str) -> str | None:
    """The kind of a URL that names no file."""
    scheme = _scheme(url.partition(" @ ")[2] or url)
    system = scheme.partition("+")[0]
    if system in _SYSTEMS:
        return f"a {'Git' if system == 'git' else system} repository"
    if scheme in ("ssh", "sftp"):
        return "a repository"
    if scheme == "file" and Path(url_path(url)).is_dir():
        return "a directory"
    return None


def _source_kind(url: str) -> str | None:
    """The kind of a URL of an archive of sources without a version in its name: no index can
    list it."""
    filename = filename_of(url)
    distribution = names.distribution(filename)
    if distribution is None or not distribution.version[:1].isdigit():
        is_wheel = filename.endswith(".whl")
        return None if is_wheel else "an archive whose name is not NAME-VERSION"
    return None


def _project(url: str, origin: str) -> str:
    """The project of the file at ``url``, by its fragment or its name."""
    filename = filename_of(url)
    if filename.endswith(".whl"):
        try:
            return parse_wheel_filename(filename)[0]
        except InvalidWheelFilename:
            text = "not the name of a wheel; correct the name or the URL"
            raise PyindexError(f"{origin}: {filename}: {text}") from None
    if match := _EGG.search(url):
        return canonicalize_name(match[1].partition("==")[0])
    distribution = names.distribution(filename)
    assert distribution is not None, filename  # see _source_kind
    return distribution.project


def _url_hashes(url: str) -> frozenset[str]:
    return frozenset(f"{name}:{digest.lower()}" for name, digest in _HASH.findall(url))
