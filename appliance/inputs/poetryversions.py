"""Version constraints of poetry: ``^1.2``, ``~1.2``, ``1.*``, ``>=1 <2``, ``<2 || >3``."""

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from appliance.errors import PyindexError

_OPERATOR = re.compile(r"\s*(\^|~=|~|===|==|=|!=|<=|>=|<|>|)\s*(.+)\Z")
_SEPARATOR = re.compile(r"(?<![<>=!~^,\s|])\s*(?:,|\s)\s*(?![,\s|])")


@dataclass(frozen=True, slots=True)
class Constraint:
    """Versions of which one of several specifiers must allow each."""

    alternatives: tuple[SpecifierSet, ...]

    def contains(self, version: str) -> bool:
        """Whether it allows a version; one that is not of PEP 440 fits only ``ANY``."""
        try:
            return any(each.contains(version, prereleases=True) for each in self.alternatives)
        except InvalidVersion:
            return self is ANY

    @property
    def specifier(self) -> SpecifierSet | None:
        """The one specifier that says the same; ``None`` if there is none."""
        return self.alternatives[0] if len(self.alternatives) == 1 else None


ANY = Constraint((SpecifierSet(),))


def parse(text: str, where: str) -> Constraint:
    """The constraint that ``text`` states; errors begin with ``where``."""
    try:
        alternatives = re.split(r"\s*\|\|?\s*", text.strip())
        return Constraint(tuple(_specifier(each) for each in alternatives))
    except (InvalidSpecifier, InvalidVersion):
        advice = "write one such as >=1.2,<2"
        raise PyindexError(f"{where}: not a version constraint: {text!r}; {advice}") from None


def _specifier(text: str) -> SpecifierSet:
    parts = (part for part in _SEPARATOR.split(text) if part)
    return SpecifierSet(",".join(filter(None, map(_part, parts))))


def _part(text: str) -> str:
    match = _OPERATOR.match(text)
    if not match:
        raise InvalidSpecifier(text)
    operator, version = match[1], match[2].strip()
    if version in ("*", "x"):
        return ""
    if operator in ("^", "~"):
        return f">={version},<{_next(Version(version), operator)}"
    if operator in ("", "="):
        return f"=={version}"
    return f"{operator}{version}"


def _next(version: Version, operator: str) -> str:
    """The first version that a caret or tilde no longer allows."""
    release = version.release
    if operator == "~":
        last = min(1, len(release) - 1)
    else:
        nonzero = (i for i, number in enumerate(release) if number)
        last = next(nonzero, len(release) - 1)
    return ".".join(map(str, (*release[:last], release[last] + 1)))
