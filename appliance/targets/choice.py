"""Choice: the targets that a command names, or those of a spec."""

from collections.abc import Iterable
from dataclasses import replace

from appliance.errors import PyindexError, SpecError
from appliance.spec import Spec
from appliance.targets.answers import NOTHING, Answers
from appliance.targets.reading import read
from appliance.targets.target import Target


def choose(texts: Iterable[str], spec: Spec | None, renew: bool = False) -> tuple[Target, ...]:
    """Return the targets of ``texts``, each once and in that order; without any, all of the spec.

    A text may be a name in the spec, which wins over a preset. Hosts are asked once, or again with
    ``renew``: their answers are in ``targets.json`` in the state directory. Raises
    :class:`PyindexError` for a text that is no target and if there is none at all,
    :class:`SpecError` with the key for one of the spec.
    """
    named = (spec and spec.targets) or {}
    chosen = dict.fromkeys(texts) or dict.fromkeys(named)
    if not chosen:
        raise PyindexError("no target; pass --target TARGET, or set `targets` in the spec")

    answers = Answers(spec.state / "targets.json", renew) if spec else NOTHING
    return tuple(
        _read_named(text, named[text], answers) if text in named else read(text, answers)
        for text in chosen
    )


def _read_named(name: str, text: str, answers: Answers) -> Target:
    try:
        return replace(read(text, answers), name=name)
    except PyindexError as error:
        key = "targets" if name == text else f"targets.{name}"
        raise SpecError([f"{key}: {error}"]) from None
