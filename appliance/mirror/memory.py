"""Remembered answers: a plan, and proofs, of an earlier run.

An answer follows from the question, the programs that found it, and every project that they asked
for, also those of which they took nothing. It is stored with the versions of those projects, and
valid while each has the same version. A missing or damaged one is found again.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Generic, TypeVar

from packaging.version import Version
from pydantic import TypeAdapter, ValidationError

from appliance.inputs.demand import Demand
from appliance.mirror.plan import Plan
from appliance.resolution.candidates import Candidate
from appliance.resolution.missing import Missing
from appliance.resolution.proof import Verdict
from appliance.targets.target import Target
from appliance.upstream import Cache, RemoteFile, Upstreams

_FORMAT = 3  # count up when an answer would be another one, and no version below changes
_PROGRAMS = ("pyindex", "uv", "packaging", "resolvelib")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Answer(Generic[_T]):
    """An answer, and the versions of all projects that it was found from, by name."""

    versions: dict[str, str]
    value: _T


@dataclasses.dataclass(frozen=True)
class _Pick:
    project: str
    version: str
    file: RemoteFile
    is_wheel: bool
    rank: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Proof:
    target: str
    client: str
    files: tuple[_Pick, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    demand: str


_PLAN = TypeAdapter(Answer[Plan])
_PROOFS = TypeAdapter(Answer[tuple[_Proof, ...]])


class Memory:
    """The remembered answers in ``cache`` to questions about one ``index``: what demands need on
    ``targets``."""

    def __init__(self, cache: Cache, index: str, targets: Sequence[Target], no_deps: bool) -> None:
        self._cache, self._targets = cache, targets
        programs = [metadata.version(name) for name in _PROGRAMS]
        self._question = _plain([_FORMAT, programs, index, targets, no_deps])

    def plan(self, upstreams: Upstreams, demands: Sequence[Demand]) -> Answer[Plan] | None:
        """Return the plan for ``demands`` that was made from ``upstreams``.

        This and the other methods raise :class:`PyindexError` for a target that a lock does not
        support.
        """
        return self._recall(_PLAN, self._plan_key(upstreams, demands))

    def keep_plan(
        self, upstreams: Upstreams, demands: Sequence[Demand], answer: Answer[Plan]
    ) -> None:
        """Store a plan, unless it lacks something, or has a file that may change under its URL."""
        plan = answer.value
        if not plan.unsolved and all(file.hashes for file in plan.files.values()):
            self._cache.store_answer(self._plan_key(upstreams, demands), _PLAN.dump_json(answer))

    def proofs(self, demands: Sequence[Demand]) -> Answer[tuple[Verdict, ...]] | None:
        """Return the verdicts on ``demands``."""
        stored = self._recall(_PROOFS, self._key("proofs", demands))
        if stored is None:
            return None
        return Answer(stored.versions, tuple(map(_verdict, stored.value)))

    def keep_proofs(self, demands: Sequence[Demand], answer: Answer[tuple[Verdict, ...]]) -> None:
        """Store verdicts if all install: another may have run out of time."""
        if not all(verdict.installs for verdict in answer.value):
            return
        stored = Answer(answer.versions, tuple(map(_proof, answer.value)))
        self._cache.store_answer(self._key("proofs", demands), _PROOFS.dump_json(stored))

    def _plan_key(self, upstreams: Upstreams, demands: Sequence[Demand]) -> str:
        how = upstreams.indexes, upstreams.is_merged, upstreams.find_links
        return self._key("plan", demands, *how)

    def _key(self, kind: str, demands: Sequence[Demand], *parts: Any) -> str:
        asked = [_asked(each, self._targets) for each in demands]
        text = json.dumps([self._question, _plain([kind, asked, *parts])])
        return hashlib.sha256(text.encode()).hexdigest()

    def _recall(self, kind: TypeAdapter[_T], key: str) -> _T | None:
        try:
            return kind.validate_json(self._cache.answer(key) or b"")
        except ValidationError:
            return None


def _asked(demand: Demand, targets: Sequence[Target]) -> list[Any]:
    """Return all that a demand says. Raises :class:`PyindexError` for a target that a lock does not
    support."""
    pins = map(demand.lock.pins, targets) if demand.lock is not None else ()
    return [dataclasses.replace(demand, lock=None), *pins]


def _plain(value: Any) -> Any:
    """Return a value for JSON that is the same in every process."""
    if dataclasses.is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return sorted([_plain(name), _plain(each)] for name, each in value.items())
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    return value if value is None else str(value)


def _proof(verdict: Verdict) -> _Proof:
    files = (
        _Pick(each.project, str(each.version), each.file, each.is_wheel, each.rank)
        for each in verdict.files
    )
    facts = verdict.missing, verdict.notes, verdict.demand
    return _Proof(verdict.target, verdict.client, tuple(files), *facts)


def _verdict(proof: _Proof) -> Verdict:
    files = (
        Candidate(each.project, Version(each.version), each.file, each.is_wheel, each.rank)
        for each in proof.files
    )
    facts = proof.missing, proof.notes, proof.demand
    return Verdict(proof.target, proof.client, tuple(files), *facts)
