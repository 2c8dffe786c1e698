"""From a demand to what is to be resolved on one target."""

from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement

from appliance.errors import PyindexError
from appliance.index.names import distribution
from appliance.inputs.demand import Demand, Pin, Unbuilt, Wanted
from appliance.inputs.urls import filename_of
from appliance.resolution.candidates import Formats
from appliance.resolution.model import Question
from appliance.targets.target import Target


def question(demand: Demand, target: Target, no_deps: bool = False) -> Question:
    """Return what ``demand`` asks for on ``target``. A lock becomes its releases with their
    digests; so does a requirement with a URL, by its file name. No index satisfies what is still to
    be built.

    Raises :class:`PyindexError` if the demand does not support the target.
    """
    if demand.lock is not None:
        wanted = tuple(map(_of_pin, demand.lock.pins(target)))
        return Question(wanted, target, no_deps=True)

    python = demand.requires_python
    if python is not None and not python.contains(target.python, prereleases=True):
        text = f"requires Python {python}, and {target.name} has {target.python}"
        raise PyindexError(f"{demand.origin}: {text}; leave the target out")
    options = demand.options
    return Question(
        wanted=(*map(_without_url, demand.requirements), *map(_of_unbuilt, demand.unbuilt)),
        target=target,
        constraints=tuple(_usable_constraints(demand.constraints)),
        formats=Formats(options.only_binary, options.no_binary),
        pre=options.pre,
        prefer_binary=options.prefer_binary,
        no_deps=no_deps or options.no_deps,
        require_hashes=options.require_hashes,
        has_hashes=options.has_hashes
        or any(each.hashes for each in demand.constraints if each.requirement.url is None),
    )


def _of_unbuilt(unbuilt: Unbuilt) -> Wanted:
    """Return a requirement that no index satisfies: of a project that is not built."""
    text = f"{unbuilt.project}{unbuilt.extras} @ {unbuilt.location or 'file:'}{unbuilt.marker}"
    return Wanted(Requirement(text), unbuilt.origin)


def _of_pin(pin: Pin) -> Wanted:
    if pin.unbuilt is not None and not pin.files:
        return _of_unbuilt(pin.unbuilt)
    hashes = pin.hashes | {
        f"{name}:{digest}" for file in pin.files for name, digest in file.hashes.items()
    }
    try:
        requirement = Requirement(f"{pin.name}=={pin.version}")
    except InvalidRequirement:  # a version of before PEP 440
        requirement = Requirement(f"{pin.name}==={pin.version}")
    return Wanted(requirement, pin.origin or pin.name, frozenset(hashes))


def _without_url(wanted: Wanted) -> Wanted:
    """Return a requirement of a file as one of its release: the index has it by its name."""
    url = wanted.requirement.url
    if url is None:
        return wanted
    named = distribution(filename_of(url))
    if named is None:
        raise PyindexError(
            f"{wanted.origin}: {filename_of(url)}: not a package file; name a release instead"
        )
    extras = f"[{','.join(sorted(wanted.requirement.extras))}]" if wanted.requirement.extras else ""
    requirement = Requirement(f"{wanted.requirement.name}{extras}=={named.version}")
    requirement.marker = wanted.requirement.marker
    return Wanted(requirement, wanted.origin, wanted.hashes)


def _usable_constraints(constraints: Iterable[Wanted]) -> Iterable[Wanted]:
    return (_without_url(each) for each in constraints)
