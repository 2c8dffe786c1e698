"""File names of distributions: which project and release a file belongs to.

Wheels follow PEP 427, source distributions PEP 625 where they can. Older names are ambiguous
(is ``foo-1.0-1.zip`` release ``1.0-1`` of ``foo``?), so every function takes the name that the
file's own metadata gives, and splits as pip does for a known project: after the first dash whose
left side is that project.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from appliance.errors import Rejected

SDIST_ENDINGS = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz")
ENDINGS = (".whl", *SDIST_ENDINGS, ".egg", ".exe", ".msi")
SIGNATURE = ".asc"
METADATA = ".metadata"

# Room for ".metadata" and a temporary name's decoration within the 255 bytes of a file name.
_LONGEST = 220
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~-]*\Z")
_DUMB = re.compile(r"\.(?:linux|macosx|win|cygwin|solaris|sunos|aix|irix|freebsd|openbsd)[^/]*\Z")
_WININST = re.compile(r"\.(?:win32|win-amd64|win-arm32|win-arm64)(?:-py(\d[\d.]*))?\Z")
_MOST_PROJECTS = 10  # that one name may be of
_BEFORE_VERSION = re.compile(r"-(?=v?[0-9])", re.IGNORECASE)
_EGG = re.compile(r"([^-]+)-([^-]+)-py(\d[\d.]*)(?:-.+)?\Z")


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a file name says: ``kind`` and ``python_version`` as the upload API spells them."""

    filename: str
    name: str
    version: str
    kind: str
    python_version: str

    @property
    def project(self) -> str:
        return normalize(self.name)


@lru_cache(maxsize=4096)
def normalize(name: str) -> str:
    """The one spelling of a project's name in URLs and keys (PEP 503)."""
    return canonicalize_name(name)


def is_name(name: str) -> bool:
    """Whether ``name`` is a valid project name in any spelling (PEP 508)."""
    try:
        canonicalize_name(name, validate=True)
    except InvalidName:
        return False
    return name.isascii()


@lru_cache(maxsize=4096)
def normalize_version(version: str) -> str:
    """A version as PEP 440 spells it, or as it stands where PEP 440 has no word for it."""
    for spelling in (version, version.replace("_", "-")):
        try:
            return str(Version(spelling))
        except InvalidVersion:
            continue
    return version


def is_version_of(filename_version: str, version: str) -> bool:
    """Whether a file of ``filename_version`` may hold metadata of ``version``.

    A dash is written as an underscore in file names (PEP 427), and who builds a file for one
    machine may write a local version (PEP 440) into the name only: what is within lacks it.
    """
    ours, theirs = (normalize_version(each) for each in (filename_version, version))
    if ours == theirs or ours.replace("_", "-") == theirs.replace("_", "-"):
        return True
    try:
        own, other = Version(ours), Version(theirs)
    except InvalidVersion:
        return False
    return own == other or (other.local is None and own.public == other.public)


@lru_cache(maxsize=1 << 16)
def version_key(version: str) -> tuple[int, Version | str]:
    """Sorts releases; what is not PEP 440 comes before all that is."""
    try:
        return 1, Version(version)
    except InvalidVersion:
        return 0, version


def ending(filename: str) -> str:
    """The accepted ending of ``filename``, in lower case; :class:`Rejected` if there is none."""
    lower = filename.lower()
    for known in ENDINGS:
        if lower.endswith(known):
            return known
    raise Rejected(f"not a package file: expected a name ending in {', '.join(ENDINGS)}")


def parse(filename: str, metadata_name: str | None = None) -> Distribution:
    """Tell project, release and kind from ``filename``.

    ``metadata_name`` is the Name that the file's metadata gives, if it has any. Raises
    :class:`Rejected` for a name that no installer could read or that is not safe to serve.
    """
    suffix = ending(filename)
    if not _FILENAME.match(filename):
        raise Rejected("the file name has characters other than letters, digits and . _ + ! ~ -")
    if len(filename) > _LONGEST:
        raise Rejected(f"the file name is longer than {_LONGEST} characters")
    stem = filename[: -len(suffix)]
    if suffix == ".whl":
        parsed = _wheel(filename, stem, metadata_name)
    elif suffix == ".egg":
        parsed = _egg(filename, stem)
    elif suffix in (".exe", ".msi"):
        parsed = _installer(filename, stem, metadata_name, suffix)
    else:
        parsed = _sdist(filename, stem, metadata_name)
    if not is_name(parsed.name):
        raise Rejected(f"{parsed.name!r} is not a valid project name")
    return parsed


def distribution(path: str) -> Distribution | None:
    """What the name of a file at ``path`` says, if it says anything."""
    try:
        return parse(path.rpartition("/")[2])
    except Rejected:
        return None


def possible(path: str) -> dict[str, str]:
    """The projects that a file at ``path`` may be of by its name, however ambiguous or wrong that
    is, the likeliest first: normalised names, with how they are written."""
    filename = path.rpartition("/")[2]
    named = distribution(filename)
    found = {} if named is None else {named.project: named.name}
    try:
        stem = filename[: -len(ending(filename))]
    except Rejected:
        return found
    if named is not None and named.kind in ("bdist_wheel", "bdist_egg"):
        return found  # their names have one meaning
    for match in islice(_BEFORE_VERSION.finditer(stem), _MOST_PROJECTS):
        name = stem[: match.start()]
        if is_name(name):
            found.setdefault(normalize(name), name)
    return found


def _wheel(filename: str, stem: str, metadata_name: str | None) -> Distribution:
    parts = stem.split("-")
    if len(parts) < 5 or not all(parts):
        raise Rejected("a wheel is named NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl (PEP 427)")
    has_build_tag = len(parts) == 6 and parts[2][0].isdigit() and version_key(parts[1])[0]
    if len(parts) == 5 or has_build_tag:
        name, version = parts[0], parts[1]
    else:  # a dash in the name, which only pip before 10 would take
        name, version = _split("-".join(parts[:-3]), metadata_name)
        version = version.partition("-")[0]
    return Distribution(filename, name, normalize_version(version), "bdist_wheel", parts[-3])


def _egg(filename: str, stem: str) -> Distribution:
    match = _EGG.match(stem)
    if not match:
        raise Rejected("an egg is named NAME-VERSION-pyX.Y[-PLATFORM].egg")
    name, version, python = match.groups()
    return Distribution(filename, name, normalize_version(version), "bdist_egg", python)


def _installer(filename: str, stem: str, metadata_name: str | None, suffix: str) -> Distribution:
    match = _WININST.search(stem)
    if not match:
        raise Rejected(f"an installer is named NAME-VERSION.PLATFORM[-pyX.Y]{suffix}")
    name, version = _split(stem[: match.start()], metadata_name)
    kind = "bdist_wininst" if suffix == ".exe" else "bdist_msi"
    return Distribution(filename, name, normalize_version(version), kind, match[1] or "any")


def _sdist(filename: str, stem: str, metadata_name: str | None) -> Distribution:
    kind, python = "sdist", "source"
    dumb = _DUMB.search(stem)
    if dumb:
        kind, python, stem = "bdist_dumb", "any", stem[: dumb.start()]
    name, version = _split(stem, metadata_name)
    return Distribution(filename, name, normalize_version(version), kind, python)


def _split(stem: str, metadata_name: str | None) -> tuple[str, str]:
    """``NAME-VERSION`` to its two halves."""
    cuts = [i for i, char in enumerate(stem) if char == "-" and 0 < i < len(stem) - 1]
    halves = [(stem[:i], stem[i + 1 :]) for i in cuts]
    if not halves:
        raise Rejected("the file name has no version: expected NAME-VERSION")
    if metadata_name:
        project = normalize(metadata_name)
        for name, version in halves:
            if normalize(name) == project:
                return name, version
    for name, version in halves:
        if version_key(version)[0]:
            return name, version
    for name, version in halves:
        if version[0].isdigit():
            return name, version
    return halves[-1]
