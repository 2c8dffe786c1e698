"""Digests that a demand allows for a file, where pages state none of their algorithms.

Installers hash the file itself then, and only the one that they would take: neither looks for
another file of the release if its digest is wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from appliance.inputs.demand import Wanted
from appliance.resolution.candidates import Candidate, best_of_each, has_hash
from appliance.resolution.source import Source
from appliance.upstream.digests import ALGORITHMS

_NO_FILE = frozenset({"sha256:"})


def with_digests(
    candidates: Sequence[Candidate], wanted: Sequence[Wanted], source: Source
) -> list[Candidate]:
    """Return the candidates of a project that ``wanted`` requires, with the digests of the files
    that an installer would hash; the other files of those releases are left out.

    Raises :class:`PyindexError` as ``source`` does.
    """
    hashes = frozenset[str]().union(*(each.hashes for each in wanted))
    if not hashes:
        return list(candidates)
    stated = {each.version for each in candidates if has_hash(each.file, hashes)}
    hashed = {
        each.version: _hashed(each, hashes, source)
        for each in best_of_each(candidates)
        if each.version not in stated and _is_wanted(each, wanted)
    }
    others = (each for each in candidates if each.version not in hashed)
    return [*others, *hashed.values()]


def _is_wanted(candidate: Candidate, wanted: Iterable[Wanted]) -> bool:
    return all(
        each.requirement.specifier.contains(candidate.version, prereleases=True) for each in wanted
    )


def _hashed(candidate: Candidate, hashes: frozenset[str], source: Source) -> Candidate:
    """Return a candidate whose file has a digest of each algorithm in ``hashes`` that can
    be computed."""
    file = candidate.file
    demanded = {each.partition(":")[0] for each in hashes}
    missing = demanded.intersection(ALGORITHMS) - file.hashes.keys()
    computed = {name: source.digest(file, name) for name in sorted(missing)}
    return replace(candidate, file=replace(file, hashes={**file.hashes, **computed}))


def common(hashes: Iterable[frozenset[str]]) -> frozenset[str]:
    """Return the digests that all sets allow; an empty set allows any."""
    sets = [each for each in hashes if each]
    return (frozenset.intersection(*sets) or _NO_FILE) if sets else frozenset()
