"""What must be built: the project that a line or a lock means, and where its sources are.

No code runs to learn the name: it is the one that is written, the one that the sources state, or
else that of the directory or repository. A build that gives another project is refused.
"""

import configparser
import re
from pathlib import Path
from urllib.parse import parse_qs, quote

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs.demand import Unbuilt
from appliance.inputs.documents import Table, read_toml
from appliance.inputs.urls import url_path
from appliance.spec.faults import quoted
from appliance.text import without_login

SYSTEMS = ("git", "hg", "svn", "bzr")
"""The version control systems that inputs may name."""

_EGG = re.compile(r"(?P<name>[^\[]+)(?P<extras>\[[^\]]*\])?\Z")


def from_url(
    line: str, origin: str, kind: str, url: str, extras: str = "", marker: str = ""
) -> Unbuilt:
    """The requirement of a URL without a name but perhaps that of its fragment (``#egg=NAME``)."""
    stated = parse_qs(url.partition("#")[2])
    egg = _EGG.match(stated.get("egg", [""])[0])
    name = egg["name"] if egg else _stated_name(url) or _last_part(url)
    extras = (egg and egg["extras"]) or extras
    if egg is not None:
        try:
            Requirement(f"{name}{extras}")
        except InvalidRequirement:
            text = f"expected #egg=NAME or #egg=NAME[EXTRA], got {quoted(egg[0])}; correct it"
            raise PyindexError(f"{origin}: {text}") from None
    return Unbuilt(line, origin, kind, canonicalize_name(name), url, extras, marker)


def from_requirement(
    line: str, origin: str, kind: str, requirement: Requirement, location: str
) -> Unbuilt:
    """A named requirement whose sources are at ``location``."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    name = canonicalize_name(requirement.name)
    return Unbuilt(line, origin, kind, name, location, extras, marker)


def refusal(unbuilt: Unbuilt) -> str:
    """The message for a requirement that nobody asked to build."""
    text = f"{without_login(unbuilt.line)!r} names {unbuilt.kind}, which must be built"
    advice = f"replace it by a wheel, or mirror it with --build {unbuilt.project}"
    return f"{unbuilt.origin}: {text}; {advice}"


# --- locations ------------------------------------------------------------------------------------


def git(url: str, reference: str | None = None, subdirectory: str | None = None) -> str:
    """The location of a Git repository, as pip writes it."""
    return repository("git", url, reference, subdirectory)


def repository(system: str, url: str, reference: str | None, subdirectory: str | None) -> str:
    """The location of a repository of one of :data:`SYSTEMS`, as pip writes it."""
    at = f"@{reference}" if reference else ""
    return f"{system}+{url.removeprefix(f'{system}+')}{at}{_fragment(subdirectory)}"


def directory(base: Path, path: str, subdirectory: str | None = None) -> str:
    """The location of a path that is relative to the directory ``base``."""
    return f"{(base.absolute() / path).as_uri()}{_fragment(subdirectory)}"


def _fragment(subdirectory: str | None) -> str:
    return f"#subdirectory={quote(subdirectory)}" if subdirectory else ""


# --- names ----------------------------------------------------------------------------------------


def _stated_name(url: str) -> str:
    """The name that a directory states in its pyproject.toml or setup.cfg; "" without one."""
    if not url.startswith("file:"):
        return ""
    path = Path(url_path(url))
    return _project_name(path / "pyproject.toml") or _configured_name(path / "setup.cfg")


def _project_name(path: Path) -> str:
    try:
        root = read_toml(path)
        return _name_in(root.table("project")) or _name_in(root.table("tool", "poetry"))
    except PyindexError:
        return ""


def _name_in(table: Table) -> str:
    return table.optional_text("name") or ""


def _configured_name(path: Path) -> str:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ""
    return parser.get("metadata", "name", fallback="")


def _last_part(url: str) -> str:
    """The last part of the path of a directory or repository."""
    path = url_path(url).rstrip("/")
    name = (path.rpartition("@")[0] or path) if url.startswith("git+") else path
    return name.rstrip("/").rpartition("/")[2].removesuffix(".git")
