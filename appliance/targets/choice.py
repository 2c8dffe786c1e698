"""Choice: the targets that a command names, or those of a spec."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from appliance.errors import PyindexError, SpecError
from appliance.targets.answers import NOTHING, Answers
from appliance.targets.reading import read
from appliance.targets.target import Target


def choose(
    texts: Iterable[str], named: Mapping[str, str], answers: Answers = NOTHING
) -> tuple[Target, ...]:
    """Return the targets of ``texts``, each once and in that order; without any, all of ``named``.

    ``named`` is the ``targets`` of a spec: texts by name. A name of it wins over a preset. Raises
    :class:`PyindexError` for a text, :class:`SpecError` with the key for one of the spec, and if
    there is no target at all.
    """
    chosen = dict.fromkeys(texts) or dict.fromkeys(named)
    if not chosen:
        raise PyindexError("no target; pass --target TARGET, or set `targets` in the spec")
    return tuple(_read(text, named, answers) for text in chosen)


def _read(text: str, named: Mapping[str, str], answers: Answers) -> Target:
    if text not in named:
        return read(text, answers)
    try:
        target = read(named[text], answers)
    except PyindexError as error:
        key = "targets" if named[text] == text else f"targets.{text}"
        raise SpecError([f"{key}: {error}"]) from None
    return replace(target, name=text)
