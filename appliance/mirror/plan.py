"""Plan: the files that demands need on targets, before anything is fetched into an index."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from appliance.errors import PyindexError
from appliance.index.names import distribution
from appliance.inputs.demand import Demand, Pin
from appliance.inputs.pinning import FixedLock
from appliance.mirror import uvsolve
from appliance.mirror.builds import Builder, Built
from appliance.mirror.relay import Relay, by_name
from appliance.mirror.remote import (
    FactReader,
    RemoteSource,
    direct_files,
    locked_files,
    prefetch,
)
from appliance.resolution.candidates import Candidate, key
from appliance.resolution.model import Question, Resolution
from appliance.resolution.proof import build_note, build_question, with_wheel
from appliance.resolution.questions import question
from appliance.resolution.resolver import resolve
from appliance.resolution.rules import PIP, UV
from appliance.targets.target import Target
from appliance.upstream import Client, RemoteFile, UpstreamError


@dataclass(frozen=True, slots=True)
class Unsolved:
    """A requirement that no upstream satisfies on a target, what requires it, and the reason.
    Without a requirement the whole input could not be resolved."""

    target: str
    requirement: str
    required_by: str
    reason: str

    def __str__(self) -> str:
        if not self.requirement:
            return f"{self.target}: {self.reason}"
        return f"{self.target}: {self.requirement} (required by {self.required_by}): {self.reason}"


@dataclass
class Plan:
    """The files that are needed, by name, with the targets that need each; what is not to be had;
    and what is uncertain. ``unpaged`` are files that may be yanked, as only their pages say."""

    files: dict[str, RemoteFile] = field(default_factory=dict)
    unpaged: set[str] = field(default_factory=set)
    targets: dict[str, set[str]] = field(default_factory=dict)
    unsolved: list[Unsolved] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The size of all files in bytes, as far as it is stated."""
        return sum(file.size or 0 for file in self.files.values())

    def add(self, asked: Question, picks: Iterable[Candidate]) -> None:
        """Add the files that answer a question."""
        pinned = _pinned_projects(asked)  # an installer takes no other yanked file
        for each in picks:
            name = each.file.filename
            self.files.setdefault(name, each.file)
            self.targets.setdefault(name, set()).add(asked.target.name)
            self.unpaged |= {name} if each.project in pinned else set()

    def fail(self, target: Target, resolution: Resolution) -> None:
        for problem in resolution.problems:
            need = problem.need
            self.unsolved.append(Unsolved(target.name, str(need), need.origin, problem.reason))


@dataclass(frozen=True, slots=True)
class Workshop:
    """The reader of facts that planning uses, with its client; the same as an index for uv; and the
    builder of what is to be built."""

    reader: FactReader
    relay: Relay
    builder: Builder

    def source(self, pins: Iterable[Pin] = ()) -> RemoteSource:
        """The upstreams as a source, which has the files of ``pins`` from their lock."""
        return RemoteSource(self.reader, asyncio.get_running_loop(), locked_files(pins))


async def add_demand(
    plan: Plan, demand: Demand, targets: Sequence[Target], workshop: Workshop, no_deps: bool
) -> None:
    """Add to ``plan`` what ``demand`` needs on each of ``targets``, in parallel.

    What an upstream cannot answer is unsolved for that target. Raises :class:`PyindexError` if the
    demand does not support a target.
    """
    async with asyncio.TaskGroup() as group:
        for target in targets:
            group.create_task(_add(plan, demand, target, workshop, no_deps))


async def _add(
    plan: Plan, demand: Demand, target: Target, workshop: Workshop, no_deps: bool
) -> None:
    question(demand, target, no_deps)  # raises what no build changes
    try:
        built = await workshop.builder.demand(demand, target)
        workshop.builder.builds.demands[demand.origin, target.name] = built.demand
        asked = question(built.demand, target, no_deps)
        await _add_asked(plan, asked, built, workshop, no_deps)
    except PyindexError as error:
        plan.unsolved.append(Unsolved(target.name, "", "", str(error)))


async def _add_asked(
    plan: Plan, asked: Question, built: Built, workshop: Workshop, no_deps: bool
) -> None:
    demand, target = built.demand, asked.target
    source = workshop.source(demand.lock.pins(target) if demand.lock is not None else ())
    source = replace(source, locked={**source.locked, **direct_files(demand), **built.files})
    resolution = await _solve(asked, workshop, source)
    if resolution.problems:
        plan.fail(target, resolution)
        return

    plan.add(asked, resolution.picks)
    plan.notes |= dict.fromkeys(resolution.notes)
    if not no_deps:
        await _add_builds(plan, asked, resolution.picks, workshop)


async def _add_builds(
    plan: Plan,
    asked: Question,
    picks: Sequence[Candidate],
    workshop: Workshop,
) -> None:
    """Add what the build of each sdist needs, and what builds that."""
    source = workshop.source()
    pending, seen = [each for each in picks if not each.is_wheel], set(picks)
    while pending:
        candidate = pending.pop()
        plan.notes |= dict.fromkeys(await asyncio.to_thread(build_note, candidate, source))
        build = await asyncio.to_thread(build_question, asked, candidate, source, PIP)
        if build is None:
            continue
        resolution = await _solve(build, workshop, source)
        if more := with_wheel(build, resolution):
            build, resolution = more, await _solve(more, workshop, source)
        if resolution.problems:
            plan.fail(asked.target, resolution)
            continue

        plan.add(build, resolution.picks)
        new = [each for each in resolution.picks if each not in seen]
        seen |= set(new)
        pending += [each for each in new if not each.is_wheel]


async def _solve(asked: Question, workshop: Workshop, source: RemoteSource) -> Resolution:
    """Resolve, build what is to be built of that, and resolve again with the wheels, whose
    dependencies are certain."""
    while True:
        resolution = await _resolve(asked, workshop, source)
        wheels = await workshop.builder.wheels(asked, resolution.picks)
        if not wheels:
            return resolution
        source = replace(source, locked={**source.locked, **wheels})


async def _resolve(asked: Question, workshop: Workshop, source: RemoteSource) -> Resolution:
    """Resolve by uv, or by resolvelib where uv has no answer."""
    if not source.locked and not _is_pinned(asked):
        pins = await uvsolve.solve(asked, workshop.relay.url)
        if pins is not None:
            return await _files_of(pins, asked, workshop)

    await prefetch(asked, source)
    # pip refuses what uv takes in few cases, and the other way round: files that both can use.
    return await asyncio.to_thread(resolve, asked, source, PIP)


def _is_pinned(asked: Question) -> bool:
    """Whether there is nothing to resolve: exact releases without their dependencies."""
    return asked.no_deps and all(
        [each.operator for each in wanted.requirement.specifier] in (["=="], ["==="])
        for wanted in asked.wanted
    )


async def _files_of(pins: Sequence[Pin], asked: Question, workshop: Workshop) -> Resolution:
    """Choose the file of each release that uv chose."""
    wanted = question(Demand("", "", lock=FixedLock(tuple(pins))), asked.target)
    source = workshop.source()
    files = {pin.name: await _listed(pin, workshop.reader.client) for pin in pins}
    return await asyncio.to_thread(resolve, wanted, replace(source, locked=files), UV)


async def _listed(pin: Pin, client: Client) -> list[RemoteFile]:
    """Return the files of a release as its project page has them."""
    files = by_name(await client.project(pin.name))
    return [files[each.filename] for each in pin.files]


def _pinned_projects(asked: Question) -> set[str]:
    requirements = (each.requirement for each in (*asked.wanted, *asked.constraints))
    return {
        key(each.name)
        for each in requirements
        if any(s.operator[:2] == "==" for s in each.specifier)
    }


async def complete(plan: Plan, client: Client, new: Iterable[RemoteFile] = ()) -> None:
    """Complete the files of a plan by what only their pages say: whether they are yanked;
    of ``new`` ones also which index lists them, and their provenance, as far as pages can be read.

    A file whose project no upstream has any more stays as it is.
    """

    async def complete_file(file: RemoteFile) -> None:
        named = distribution(file.filename)
        try:
            project = await client.project(named.project) if named else None
        except UpstreamError:
            if file.filename in plan.unpaged:
                raise
            return
        for other in project.files if project else ():
            if other.filename == file.filename and other.hashes.items() & file.hashes.items():
                plan.files[file.filename] = other

    names = plan.unpaged | {file.filename for file in new}
    await asyncio.gather(*(complete_file(plan.files[name]) for name in sorted(names)))
    plan.unpaged.clear()
