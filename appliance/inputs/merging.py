"""Requirements of one project, merged as pip's resolver does."""

from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs.demand import Wanted


def merge(requirements: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """Each project once for each marker, in order of first mention: specifiers and hashes that all
    of its mentions allow, and the extras of all.

    Raises :class:`PyindexError` if two mentions have no digest or URL in common.
    """
    merged: dict[tuple[str, str], Wanted] = {}
    for wanted in requirements:
        key = canonicalize_name(wanted.requirement.name), str(wanted.requirement.marker)
        merged[key] = _join(merged[key], wanted) if key in merged else wanted
    return tuple(merged.values())


def _join(first: Wanted, second: Wanted) -> Wanted:
    hashes = first.hashes & second.hashes if first.hashes and second.hashes else None
    if hashes is None:
        hashes = first.hashes | second.hashes
    elif not hashes:
        raise _conflict(first, second, "digest")
    return Wanted(_join_requirements(first, second), first.origin, hashes)


def _join_requirements(first: Wanted, second: Wanted) -> Requirement:
    left, right = first.requirement, second.requirement
    if left.url and right.url and left.url != right.url:
        raise _conflict(first, second, "URL")
    joined = Requirement(str(left))
    joined.url = left.url or right.url
    joined.extras = left.extras | right.extras
    joined.specifier = left.specifier & right.specifier
    return joined


def _conflict(first: Wanted, second: Wanted, subject: str) -> PyindexError:
    text = f"{first.requirement.name} has no {subject} in common with {first.origin}"
    return PyindexError(f"{second.origin}: {text}; remove one of the two lines")
