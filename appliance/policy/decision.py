"""Whether a file may enter an index, by its policy and what the catalog knows."""

from collections.abc import Sequence

from appliance.catalog.reader import Reader
from appliance.catalog.recorder import now
from appliance.errors import PyindexError
from appliance.index.metadata import CoreMetadata, parse
from appliance.index.model import File
from appliance.policy.rules import Candidate, Known, refusal
from appliance.spec import Spec


class PolicyError(PyindexError):
    """A file may not enter an index.

    Attributes:
        rule: The name of the rule: a key below ``policy``, or ``status``.
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule = rule


def check(reader: Reader, spec: Spec, index: str, file: File, raw: bytes | None) -> None:
    """Raise :class:`PolicyError` if the policy of ``index`` refuses an examined file with the core
    metadata ``raw``.

    Call it in the transaction that adds the file, before that (``reader`` is its writer then): two
    uploads at once must not both pass. A file that the index has with the same content passes.
    """
    _check(reader, spec, index, Candidate(file, _parsed(raw)), ())


def check_release(
    reader: Reader, spec: Spec, index: str, files: Sequence[tuple[File, bytes | None]]
) -> None:
    """As :func:`check`, of the files of one release with their core metadata, that enter the index
    together. The error begins with the name of the file."""
    before: list[File] = []
    for file, raw in files:
        try:
            _check(reader, spec, index, Candidate(file, _parsed(raw)), before)
        except PolicyError as error:
            raise PolicyError(error.rule, f"{file.filename}: {error}") from None
        before.append(file)


def _check(
    reader: Reader, spec: Spec, index: str, candidate: Candidate, together: Sequence[File]
) -> None:
    policy, file = spec.indexes[index].policy, candidate.file
    known = Known(
        used=reader.used(index, [file.filename]).get(file.filename),
        status=reader.status(index, file.project),
        release=_release(reader, index, file) if policy.is_by_release else (),
        now=now(),
        together=together,
    )
    if refused := refusal(policy, candidate, known):
        key = f"`indexes.{index}.policy.{refused.rule}` in the spec"
        where = "`pyindex status-set`" if refused.rule == "status" else key
        raise PolicyError(refused.rule, f"{refused.why} ({where})")


def _parsed(raw: bytes | None) -> CoreMetadata | None:
    return None if raw is None else parse(raw)


def _release(reader: Reader, index: str, file: File) -> list[File]:
    project = reader.project(index, file.project)
    return project.release(file.version) if project else []
