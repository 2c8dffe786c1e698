"""Reading: a target from its text."""

from dataclasses import replace

from appliance.errors import PyindexError
from appliance.targets import facts, interpreters, platforms
from appliance.targets.answers import NOTHING, Answers
from appliance.targets.asking import ask
from appliance.targets.environments import environment
from appliance.targets.facts import Facts
from appliance.targets.presets import PRESETS
from appliance.targets.tags import tags
from appliance.targets.target import Target
from appliance.targets.words import Unknown, hint
from appliance.text import has_controls


def read(text: str, answers: Answers = NOTHING) -> Target:
    """Return the target of a text.

    A text is one of:

    - ``<interpreter>-<platform>``: ``cp311-manylinux2014_x86_64``, ``cp27mu.5-manylinux1_x86_64``
      (the patch version 2.7.5), ``cp313t-macosx_11_0_arm64``, ``pp310-win_amd64``. Without a patch
      version it has the last one that :mod:`interpreters` knows;
    - a preset: ``debian12``;
    - ``python:PATH``: the interpreter at PATH is asked each time;
    - ``ssh:HOST`` or ``ssh:HOST:PYTHON``: an interpreter on a host, asked once if ``answers`` has
      a file.

    Nothing of the interpreter that runs enters. Raises :class:`PyindexError` with what is wrong in
    the text, or why an interpreter does not answer.
    """
    if has_controls(text):
        raise PyindexError(f"{text!r}: control characters in a target; write it without")
    try:
        if text.startswith("python:"):
            return facts.target(text, ask(text))
        if text.startswith("ssh:"):
            return facts.target(text, answers.get(text, _ask_valid))
        return replace(_written(PRESETS.get(text, text)), name=text)
    except Unknown as error:
        raise PyindexError(f"{text}: {error}") from None


def _ask_valid(text: str) -> Facts:
    """Ask an interpreter; facts that make no target are raised as :class:`Unknown`, so that they
    are not remembered."""
    answer = ask(text)
    facts.target(text, answer)
    return answer


def _written(text: str) -> Target:
    """The target ``<interpreter>-<platform>``."""
    first, dash, second = text.partition("-")
    if text in interpreters.INTERPRETERS:
        raise Unknown(f"no platform; write it too, as in {text}-manylinux2014_x86_64")
    if not dash or not first.startswith(("cp", "pp")):
        otherwise = "write INTERPRETER-PLATFORM, or a preset; `pyindex targets` lists them"
        raise Unknown(f"unknown target; {hint(text, PRESETS, otherwise)}")

    interpreter, platform = interpreters.parse(first), platforms.parse(second)
    wheel_tags, variables = tags(interpreter, platform), environment(interpreter, platform)
    return Target(text, interpreter.name, platform.name, wheel_tags, variables)
