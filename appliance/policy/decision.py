"""Whether a file may enter an index, by its policy and what the catalog knows."""

from appliance.catalog.reader import Reader
from appliance.catalog.recorder import now
from appliance.errors import PyindexError
from appliance.index import metadata
from appliance.index.model import File
from appliance.policy.rules import Candidate, Known, Refusal, refusal
from appliance.spec import Spec


class PolicyError(PyindexError):
    """A file may not enter an index.

    Attributes:
        rule: The name of the rule: a key below ``policy``, or ``status``.
    """

    def __init__(self, index: str, refused: Refusal) -> None:
        key = f"indexes.{index}.policy.{refused.rule}"
        place = "`pyindex status-set`" if refused.rule == "status" else f"`{key}` in the spec"
        super().__init__(f"{refused.why} ({place})")
        self.rule = refused.rule


def check(reader: Reader, spec: Spec, index: str, file: File, raw: bytes | None) -> None:
    """Raise :class:`PolicyError` if the policy of ``index`` refuses an examined file with the core
    metadata ``raw``.

    Call it in the transaction that adds the file (``reader`` is its writer then): two uploads at
    once must not both pass. A file that the index has with the same content passes.
    """
    policy = spec.indexes[index].policy
    known = Known(
        used=reader.used(index, [file.filename]).get(file.filename),
        status=reader.status(index, file.project),
        release=_release(reader, index, file) if policy.is_by_release else (),
        now=now(),
    )
    candidate = Candidate(file, None if raw is None else metadata.parse(raw))
    if refused := refusal(policy, candidate, known):
        raise PolicyError(index, refused)


def _release(reader: Reader, index: str, file: File) -> list[File]:
    project = reader.project(index, file.project)
    return project.release(file.version) if project else []
