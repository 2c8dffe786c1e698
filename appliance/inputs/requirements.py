"""Requirements files of pip, with the files that they include.

The grammar is that of pip's ``req_file.py``; files of http addresses are refused.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from appliance.errors import PyindexError
from appliance.inputs import pipoptions, specline
from appliance.inputs.demand import Demand, Unbuilt, Wanted
from appliance.inputs.merging import merge
from appliance.inputs.pipoptions import Formats, Line
from appliance.inputs.text import decode, logical_lines, read_bytes
from appliance.inputs.urls import url_path

KIND = "requirements.txt"
_REMOTE = re.compile(r"^(https?|ftp):", re.IGNORECASE)


def read(path: Path) -> Demand:
    """The demand of a requirements file."""
    collector = Collector()
    collector.add_file(path)
    return collector.demand(str(path), KIND)


def read_constraints(path: Path) -> tuple[Wanted, ...]:
    """The constraints in a file of constraints."""
    collector = Collector()
    collector.add_file(path, is_constraint=True)
    return collector.demand(str(path), KIND).constraints


class Collector:
    """Collects the requirements and options of lines, in the order of pip."""

    def __init__(self) -> None:
        self._requirements: list[Wanted] = []
        self._constraints: list[Wanted] = []
        self._unbuilt: list[Unbuilt] = []
        self._lines: list[Line] = []
        self._formats = Formats()
        self._indexes: list[str | None] = [None]
        self._find_links: list[str] = []
        self._has_hashes = False

    def demand(self, origin: str, kind: str) -> Demand:
        """The demand of all lines together."""
        options = pipoptions.combine(self._indexes, self._lines, self._formats, self._find_links)
        return Demand(
            origin,
            kind,
            requirements=merge(self._requirements),
            constraints=merge(self._constraints),
            unbuilt=tuple(self._unbuilt),
            options=replace(options, has_hashes=self._has_hashes),
        )

    def add_file(
        self, path: Path, is_constraint: bool = False, including: Sequence[str] = ()
    ) -> None:
        """Add the lines of a file; ``including`` has the absolute paths of those including it."""
        text = decode(read_bytes(path), path)
        stack = [*including, os.path.abspath(path)]  # noqa: PTH100
        for number, line in logical_lines(text):
            self.add_line(line, f"{path}:{number}", path, is_constraint, stack)

    def add_line(
        self,
        line: str,
        origin: str,
        path: Path,
        is_constraint: bool = False,
        including: Sequence[str] = (),
    ) -> None:
        """Add a logical line of the file ``path``."""
        parsed = pipoptions.parse_line(line, self._formats, origin)
        if parsed.text or parsed.editable:
            self._add_requirement(parsed, origin, is_constraint)
        elif nested := parsed.requirements or parsed.constraints:
            target = _nested(nested, origin, path)
            _check_cycle(target, origin, including)
            self.add_file(target, is_constraint=not parsed.requirements, including=including)
        else:
            self._add_options(parsed, path)

    def _add_requirement(self, line: Line, origin: str, is_constraint: bool) -> None:
        self._has_hashes |= bool(line.hashes)  # of URLs too, whose own digests begin no such mode
        if not line.text:
            assert line.editable is not None
            requirement: Wanted | Unbuilt = specline.parse_editable(line.editable, origin)
        else:
            requirement = specline.parse(line.text, origin, line.hashes)

        if is_constraint:
            self._constraints.append(_constraint(requirement))
        elif isinstance(requirement, Unbuilt):
            self._unbuilt.append(requirement)
        else:
            self._requirements.append(requirement)

    def _add_options(self, line: Line, path: Path) -> None:
        self._lines.append(line)
        if line.no_index:
            self._indexes = []
        if not any(each.no_index for each in self._lines):
            if line.index_url:
                self._indexes = [line.index_url]
            self._indexes += line.extra_index_urls
        if line.find_links:
            self._find_links.append(_find_links(line.find_links, path))


def _constraint(requirement: Wanted | Unbuilt) -> Wanted:
    if isinstance(requirement, Unbuilt):
        text = f"{requirement.line!r} is {requirement.kind}, which cannot be a constraint"
        raise PyindexError(f"{requirement.origin}: {text}; remove the line")
    if requirement.requirement.extras:
        text = f"a constraint with extras, {requirement.requirement}"
        raise PyindexError(f"{requirement.origin}: {text}; remove the extras")
    return requirement


def _nested(location: str, origin: str, path: Path) -> Path:
    """The path of an included file, which is relative to the file ``path``."""
    if _REMOTE.match(location):
        text = f"{location} is not a file of this machine; download it and name the file"
        raise PyindexError(f"{origin}: {text}")
    if location.lower().startswith("file:"):
        return Path(url_path(location))
    return Path(os.path.normpath(path.parent / location))


def _check_cycle(target: Path, origin: str, including: Sequence[str]) -> None:
    if os.path.abspath(target) in including:  # noqa: PTH100
        raise PyindexError(f"{origin}: {target} includes itself; remove this line")


def _find_links(location: str, path: Path) -> str:
    """An absolute path, of a file or directory next to the requirements file if one exists, or a
    URL."""
    relative = path.absolute().parent / location
    if relative.exists():
        return str(relative)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", location):
        return location
    return os.path.abspath(location)  # noqa: PTH100
