"""Mirror: the files that demands need on targets, planned, fetched, published and proven."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from appliance.errors import PyindexError
from appliance.index.model import File
from appliance.inputs.demand import Demand, Options
from appliance.mirror import plan as planning
from appliance.mirror import taking, wheels
from appliance.mirror.builds import Builder
from appliance.mirror.plan import Plan, Workshop
from appliance.mirror.remote import FactReader
from appliance.mirror.taking import Taken
from appliance.mirror.yanks import follow
from appliance.resolution.local import open_source
from appliance.resolution.proof import Verdict, clients, prove
from appliance.resolution.questions import question
from appliance.resolution.source import Source
from appliance.spec import Spec
from appliance.targets.target import Target
from appliance.upstream import Client, Upstreams, choose


class Report(Protocol):
    """Receives the progress of a run."""

    def update(self, step: str) -> None:
        """Another step begins."""

    def transfer(self, step: str, bytes_there: int, bytes_total: int) -> None:
        """Files are being fetched."""


_NO_OPTIONS = Options()


@dataclass(frozen=True)
class Mirrored:
    """The outcome of a run. ``verdicts`` say whether each demand installs on each target now."""

    plan: Plan
    taken: Taken
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
    with taking.locked(job.spec):
        taking.begin(job.spec)
        wheels.clear(job.spec.state)
        outcome = asyncio.run(_run(job, report))
        if job.dry_run:
            return outcome

        report.update("publishing")
        taking.publish(job.spec)
        report.update("proving")
        return replace(outcome, verdicts=tuple(verdicts(job, outcome.plan)))


async def _run(job: Job, report: Report) -> Mirrored:
    """Plan and fetch, with one client for the demands of the same upstreams."""
    plan, taken = Plan(), Taken((), ())
    try:
        for upstreams, demands in _by_upstreams(job).items():
            part = Plan()
            async with Client(upstreams, job.spec.state / "upstream-cache") as client:
                await _plan(part, job, demands, client, report)
                if not job.dry_run:
                    taken = _joined(taken, await _take(job, part, client, report))
                    notes = await follow(job.spec, job.index, part.files, client)
                    part.notes |= dict.fromkeys(notes)
            _merge(plan, part)
    except* (PyindexError, OSError) as group:
        raise _first(group) from None
    for name in sorted(job.builds - plan.built):
        plan.notes[f"--build {name}: nothing built; no target needs it, or it failed"] = None
    return Mirrored(plan, taken)


def _by_upstreams(job: Job) -> dict[Upstreams, list[Demand]]:
    chosen: dict[Upstreams, list[Demand]] = {}
    for demand in job.demands:
        upstreams = choose(job.options, demand.options, job.spec)
        chosen.setdefault(upstreams, []).append(demand)
    return chosen


async def _plan(
    plan: Plan, job: Job, demands: Sequence[Demand], client: Client, report: Report
) -> None:
    directory = taking.staging(job.spec, job.index)
    state = job.spec.state
    builder = Builder(job.builds, client, state, directory)
    workshop = Workshop(FactReader(client, directory), builder, state / "uv-cache")
    for demand in demands:
        report.update(f"resolving {demand.origin}")
        await planning.add_demand(plan, demand, job.targets, workshop, job.no_deps)
    new, _ = taking.absent(job.spec, job.index, plan.files.values())
    await planning.complete(plan, client, () if job.dry_run else new)
    plan.built |= builder.done
    plan.origins |= builder.origins


async def _take(job: Job, plan: Plan, client: Client, report: Report) -> Taken:
    def progress(files: int, there: int) -> None:
        report.transfer(f"fetching {files} of {len(plan.files)} files", there, plan.size)

    files = [plan.files[name] for name in sorted(plan.files)]
    return await taking.take(job.spec, job.index, files, client, progress, plan.origins)


def _joined(first: Taken, second: Taken) -> Taken:
    return Taken(first.new + second.new, first.failed + second.failed)


def _merge(plan: Plan, part: Plan) -> None:
    plan.files |= part.files
    for name, targets in part.targets.items():
        plan.targets.setdefault(name, set()).update(targets)
    plan.unsolved += part.unsolved
    plan.notes |= part.notes
    plan.demands |= part.demands
    plan.built |= part.built
    plan.origins |= part.origins


def _first(group: BaseException) -> PyindexError | OSError:
    """Return the first error of parallel tasks: the others are mostly the same."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, (PyindexError, OSError))
    return error


def verdicts(job: Job, plan: Plan | None = None) -> list[Verdict]:
    """Prove each demand on each target by the clients that run there, from the index alone; with
    the wheels that were built in place of what ``plan`` has built."""
    with open_source(job.spec, job.index) as source:
        return list(_proofs(job, source, {} if plan is None else plan.demands))


def closure(job: Job) -> tuple[list[File], list[Verdict]]:
    """Return the files of the index itself that the demands take on the targets, and the proofs."""
    with open_source(job.spec, job.index) as source:
        found = list(_proofs(job, source, {}))
        picks = {each.file.filename: each.file for verdict in found for each in verdict.files}
        files = [source.file(file) for file in picks.values() if file.index == job.index]
    return files, found


def _proofs(job: Job, source: Source, built: Mapping[tuple[str, str], Demand]) -> Iterator[Verdict]:
    for demand in job.demands:
        for target in job.targets:
            as_built = built.get((demand.origin, target.name), demand)
            asked = question(as_built, target, job.no_deps)
            for rules in clients(target):
                verdict = prove(asked, source, rules, not job.no_deps)
                yield replace(verdict, demand=demand.origin)
