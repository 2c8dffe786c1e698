"""Names of projects, and file names of distributions: the project and release of a file.

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

from appliance.errors import Rejected
from appliance.index.versions import LONGEST, normalize_version, version_key

SDIST_ENDINGS = (".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz")
# A new ending also needs a branch in :func:`_parse` and in `appliance.incoming.archive`: the others
# are sdists in a tar archive.
ENDINGS = (".whl", *SDIST_ENDINGS, ".egg", ".exe", ".msi")
SIGNATURE = ".asc"
PROVENANCE = ".provenance"
"""Ending of the provenance of a file (PEP 740)."""
METADATA = ".metadata"
COMPANIONS = (SIGNATURE, PROVENANCE)
"""Endings of files that are kept beside a package file."""

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~-]*\Z")
_DUMB = re.compile(r"\.(?:linux|macosx|win|cygwin|solaris|sunos|aix|irix|freebsd|openbsd)[^/]*\Z")
_WININST = re.compile(r"\.(?:win32|win-amd64|win-arm32|win-arm64)(?:-py(\d[\d.]*))?\Z")
_MOST_PROJECTS = 10  # of one ambiguous name
_BEFORE_VERSION = re.compile(r"-(?=v?[0-9])", re.IGNORECASE)
_EGG = re.compile(r"([^-]+)-([^-]+)-py(\d[\d.]*)(?:-.+)?\Z")


@dataclass(frozen=True, slots=True)
class Distribution:
    """The meaning of a file name; ``kind`` and ``python_version`` as the upload API spells them."""

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
    """Whether ``name`` is a valid project name in any spelling (PEP 508) that a file name has room
    for."""
    if len(name) > LONGEST:
        return False
    try:
        canonicalize_name(name, validate=True)
    except InvalidName:
        return False
    return name.isascii()


def ending(filename: str) -> str:
    """The accepted ending of ``filename``, in lower case; :class:`Rejected` if there is none."""
    lower = filename.lower()
    for suffix in ENDINGS:
        if lower.endswith(suffix):
            return suffix
    raise Rejected(f"not a package file: expected a name ending in {', '.join(ENDINGS)}")


def split_companion(path: str) -> tuple[str, str]:
    """Split the ending of a companion off a path; ``""`` if it has none."""
    ending = next((each for each in COMPANIONS if path.endswith(each)), "")
    return path.removesuffix(ending), ending


def parse(filename: str, metadata_name: str | None = None) -> Distribution:
    """The project, release and kind that ``filename`` states.

    ``metadata_name`` is the Name that the file's metadata gives, if it has any. Raises
    :class:`Rejected` for a name that no installer could read or that is not safe to serve.
    """
    suffix = ending(filename)
    if not _FILENAME.match(filename):
        raise Rejected("the file name has characters other than letters, digits and . _ + ! ~ -")
    if len(filename) > LONGEST:
        raise Rejected(f"the file name is longer than {LONGEST} characters")

    parsed = _parse(filename, suffix, metadata_name)
    if not is_name(parsed.name):
        raise Rejected(f"{parsed.name!r} is not a valid project name")
    return parsed


def _parse(filename: str, suffix: str, metadata_name: str | None) -> Distribution:
    stem = filename[: -len(suffix)]
    if suffix == ".whl":
        return _wheel(filename, stem, metadata_name)
    if suffix == ".egg":
        return _egg(filename, stem)
    if suffix in (".exe", ".msi"):
        return _installer(filename, stem, metadata_name, suffix)
    return _sdist(filename, stem, metadata_name)


def without_companion(path: str) -> str:
    """The path of the package file that ``path`` is, or is a companion of."""
    for suffix in (*COMPANIONS, METADATA):
        path = path.removesuffix(suffix)
    return path


def distribution(path: str) -> Distribution | None:
    """The meaning of the name of the file at ``path``; ``None`` if it has none."""
    try:
        return parse(path.rpartition("/")[2])
    except Rejected:
        return None


def possible(path: str) -> dict[str, str]:
    """The projects that a file at ``path`` may belong to by its name, even an ambiguous or invalid
    one, the likeliest first: normalized names, each with its spelling."""
    filename = path.rpartition("/")[2]
    named = distribution(filename)
    spellings = {} if named is None else {named.project: named.name}
    try:
        stem = filename[: -len(ending(filename))]
    except Rejected:
        return spellings
    if named is not None and named.kind in ("bdist_wheel", "bdist_egg"):
        return spellings  # their names have one meaning

    for match in islice(_BEFORE_VERSION.finditer(stem), _MOST_PROJECTS):
        name = stem[: match.start()]
        if is_name(name):
            spellings.setdefault(normalize(name), name)
    return spellings


def _wheel(filename: str, stem: str, metadata_name: str | None) -> Distribution:
    fields = stem.split("-")
    if len(fields) < 5 or not all(fields):
        raise Rejected("a wheel is named NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl (PEP 427)")

    has_build_tag = len(fields) == 6 and fields[2][0].isdigit() and version_key(fields[1])[0]
    if len(fields) == 5 or has_build_tag:
        name, version = fields[0], fields[1]
    else:  # a dash in the name, which only pip before 10 accepts
        name, version = _split("-".join(fields[:-3]), metadata_name)
        version = version.partition("-")[0]
    return Distribution(filename, name, normalize_version(version), "bdist_wheel", fields[-3])


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
    """Name and version of ``NAME-VERSION``, either of which may have dashes."""
    cuts = [i for i, char in enumerate(stem) if char == "-" and 0 < i < len(stem) - 1]
    halves = [(stem[:i], stem[i + 1 :]) for i in cuts]
    if not halves:
        raise Rejected("the file name has no version: expected NAME-VERSION")

    if metadata_name:
        project = normalize(metadata_name)
        for name, version in halves:
            if normalize(name) == project:
                return name, version

    # Without metadata: the first version of PEP 440, or else the first that looks like one.
    valid = (half for half in halves if version_key(half[1])[0])
    numeric = (half for half in halves if half[1][0].isdigit())
    return next(valid, None) or next(numeric, halves[-1])
