"""Mirror: the files that demands need on targets, planned, fetched, published and proven."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.errors import PyindexError
from appliance.incoming import processes
from appliance.index.model import File
from appliance.index.names import distribution
from appliance.index.patterns import matches
from appliance.inputs.demand import Demand, Options
from appliance.mirror import plan as planning
from appliance.mirror import taking, wheels
from appliance.mirror.builds import Builder, Builds
from appliance.mirror.memory import Answer, Memory
from appliance.mirror.plan import Plan, Workshop
from appliance.mirror.relay import Relay
from appliance.mirror.remote import FactReader
from appliance.mirror.taking import Taken
from appliance.mirror.yanks import follow
from appliance.resolution.local import open_source
from appliance.resolution.proof import Verdict, clients, prove
from appliance.resolution.questions import question
from appliance.resolution.source import Source
from appliance.spec import Spec
from appliance.targets.target import Target
from appliance.text import counted
from appliance.upstream import Cache, Client, Report, Upstreams, choose

_NO_OPTIONS = Options()


@dataclass(frozen=True)
class Mirrored:
    """The outcome of a run. ``verdicts`` say whether each demand installs on each target now."""

    plan: Plan
    taken: Taken
    built: Builds
    verdicts: tuple[Verdict, ...] = ()

    @property
    def is_complete(self) -> bool:
        return (
            not self.plan.unsolved
            and not self.taken.failed
            and all(verdict.installs for verdict in self.verdicts)
        )


@dataclass(frozen=True, slots=True)
class Job:
    """Demands and targets to mirror, or to prove, and the index; ``builds`` are the normalized
    names of projects that may be built."""

    spec: Spec
    index: str
    demands: tuple[Demand, ...]
    targets: tuple[Target, ...]
    options: Options = _NO_OPTIONS
    no_deps: bool = False
    dry_run: bool = False
    builds: frozenset[str] = frozenset()


def mirror(job: Job, report: Report) -> Mirrored:
    """Fetch what ``job`` needs into the packages directory, and publish it.

    What fails stops nothing else; the outcome names it. Raises :class:`PyindexError` for an input
    that does not support a target, or without upstreams.
    """
    memory = Memory(Cache(_cache(job)), job.index, job.targets, job.no_deps)
    with taking.locked(job.spec):
        taking.begin(job.spec, job.index)
        wheels.clear(job.spec.state)
        outcome = asyncio.run(_run(job, memory, report))
        if job.dry_run:
            return outcome

        report.update("publishing and proving")
        placed = [outcome.plan.files[name] for name in outcome.taken.new]
        found: list[Verdict] = []
        rejected = taking.publish(
            job.spec,
            job.index,
            placed,
            outcome.taken.ahead,
            lambda: found.extend(_proven(job, outcome, memory)),
        )
        taken = outcome.taken.without(rejected)
        return replace(outcome, taken=taken, verdicts=tuple(found))


def _cache(job: Job) -> Path:
    return job.spec.state / "upstream-cache"


async def _run(job: Job, memory: Memory, report: Report) -> Mirrored:
    """Plan and fetch, with one client for the demands of the same upstreams."""
    plan, taken, built = Plan(), Taken(), Builds()
    try:
        for upstreams, demands in _by_upstreams(job).items():
            async with Client(upstreams, _cache(job)) as client:
                part, new = await _part(job, memory, demands, client, built, report)
            taken = _joined(taken, new)
            _merge(plan, part)
    except* (PyindexError, OSError) as group:
        raise _first(group) from None
    plan.notes |= dict.fromkeys(taken.notes)
    for name in sorted(job.builds - built.projects):
        why = "no target needs it, the upstream has a wheel, or it failed"
        plan.notes[f"--build {name}: nothing built: {why}"] = None
    return Mirrored(plan, taken, built)


def _by_upstreams(job: Job) -> dict[Upstreams, list[Demand]]:
    chosen: dict[Upstreams, list[Demand]] = {}
    for demand in job.demands:
        upstreams = choose(job.options, demand.options, job.spec)
        chosen.setdefault(upstreams, []).append(demand)
    return chosen


async def _part(
    job: Job,
    memory: Memory,
    demands: Sequence[Demand],
    client: Client,
    built: Builds,
    report: Report,
) -> tuple[Plan, Taken]:
    """Plan what ``demands`` need, or recall it if nothing upstream has changed, and fetch it."""
    report.update("asking upstreams for changes")
    known = None if job.builds else memory.plan(client.upstreams, demands)
    is_known = known is not None and known.versions == await _versions(client, known.versions)
    if known is not None and is_known:
        plan = known.value
    else:
        plan = await _plan(job, demands, client, built, report)
    plan.notes |= dict.fromkeys(_private(job, client))

    new, _ = taking.absent(job.spec, job.index, list(plan.files.values()))
    await planning.complete(plan, client, () if job.dry_run else new)
    if job.dry_run:
        return plan, Taken()
    taken = await _take(job, plan, client, built, report)
    if is_known and _known_proofs(job, memory) is not None:
        return plan, taken  # no yank has changed, neither upstream nor here

    lines = await follow(job.spec, job.index, plan.files, client)
    versions = await _versions(client, client.asked)
    if versions is not None and not job.builds:
        memory.keep_plan(client.upstreams, demands, Answer(versions, plan))
    return replace(plan, notes=plan.notes | dict.fromkeys(lines)), taken


def _private(job: Job, client: Client) -> list[str]:
    return [
        f"{name}: private (`policy.private` in the spec): no upstream was asked for it"
        for name in sorted(client.asked)
        if matches(job.spec.private, name)
    ]


async def _versions(client: Client, projects: Iterable[str]) -> dict[str, str] | None:
    """Return the version of each project; ``None`` if an upstream does not answer."""
    names = sorted(projects)
    try:
        found = await asyncio.gather(*map(client.version, names))
    except PyindexError:
        return None
    return dict(zip(names, found, strict=True))


async def _plan(
    job: Job, demands: Sequence[Demand], client: Client, built: Builds, report: Report
) -> Plan:
    if not job.dry_run:
        processes.prepare()
    staging = taking.staging(job.spec, job.index)
    plan, reader = Plan(), FactReader(client, staging)
    builder = Builder(job.builds, client, job.spec.state, staging, built)
    async with Relay(reader) as relay:
        workshop = Workshop(reader, relay, builder)
        for demand in demands:
            report.update(f"resolving {demand.origin}")
            await planning.add_demand(plan, demand, job.targets, workshop, job.no_deps)
    return plan


async def _take(job: Job, plan: Plan, client: Client, built: Builds, report: Report) -> Taken:
    total = plan.size

    def progress(files: int, there: int) -> None:
        report.transfer(f"fetching {files} of {counted(len(plan.files), 'file')}", there, total)

    files = [plan.files[name] for name in sorted(plan.files)]
    return await taking.take(job.spec, job.index, files, client, progress, built.origins)


def _joined(first: Taken, second: Taken) -> Taken:
    first.ahead.add(second.ahead)
    notes = first.notes + second.notes
    return Taken(first.new + second.new, first.failed + second.failed, first.ahead, notes)


def _merge(plan: Plan, part: Plan) -> None:
    plan.files |= part.files
    for name, targets in part.targets.items():
        plan.targets.setdefault(name, set()).update(targets)
    plan.unsolved += part.unsolved
    plan.notes |= part.notes


def _first(group: BaseException) -> PyindexError | OSError:
    """Return the first error of parallel tasks: the others are mostly the same."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, (PyindexError, OSError))
    return error


def _proven(job: Job, outcome: Mirrored, memory: Memory) -> tuple[Verdict, ...]:
    """Return the verdicts; as an earlier run found them, if nothing in the index has changed."""
    if (known := _known_proofs(job, memory)) is not None:
        return known
    with open_source(job.spec, job.index) as source:
        source.read(named.project for named in map(distribution, outcome.plan.files) if named)
        found = tuple(_proofs(job, source, outcome.built.demands))
        if not job.builds:
            memory.keep_proofs(job.demands, Answer(source.versions(source.asked), found))
        return found


def _known_proofs(job: Job, memory: Memory) -> tuple[Verdict, ...] | None:
    """Return the verdicts of an earlier run, if no project that they depend on has changed in the
    index."""
    known = None if job.builds else memory.proofs(job.demands)
    if known is None:
        return None
    with open_source(job.spec, job.index) as source:
        return known.value if known.versions == source.versions(known.versions) else None


def verdicts(job: Job) -> list[Verdict]:
    """Prove each demand on each target by the clients that run there, from the index alone."""
    with open_source(job.spec, job.index) as source:
        return list(_proofs(job, source, {}))


def closure(job: Job) -> tuple[dict[str, list[File]], list[Verdict]]:
    """Return the files that the demands take on the targets, by index: a project may be that of a
    base; and the proofs."""
    with open_source(job.spec, job.index) as source:
        found = list(_proofs(job, source, {}))
        picks = {each.file.filename: each.file for verdict in found for each in verdict.files}
        files: dict[str, list[File]] = {}
        for file in picks.values():
            files.setdefault(file.index or job.index, []).append(source.file(file))
    return files, found


def _proofs(job: Job, source: Source, built: Mapping[tuple[str, str], Demand]) -> Iterator[Verdict]:
    for demand in job.demands:
        for target in job.targets:
            as_built = built.get((demand.origin, target.name), demand)
            asked = question(as_built, target, job.no_deps)
            for rules in clients(target):
                verdict = prove(asked, source, rules, not job.no_deps)
                yield replace(verdict, demand=demand.origin)
