"""Answers: facts of hosts that were asked once, in a file of JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import Batch
from appliance.errors import PyindexError
from appliance.locks import locked
from appliance.targets.facts import Facts


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers in the file ``path``, by the text of the target; ``None`` remembers nothing.

    With ``renew`` each host is asked again, and the new answer replaces the old one.
    """

    path: Path | None = None
    renew: bool = False

    def get(self, text: str, ask: Callable[[str], Facts]) -> Facts:
        """Return the answer for ``text``: the remembered one, or that of ``ask``, remembered.

        Raises :class:`PyindexError` for a damaged file, and what ``ask`` raises.
        """
        if self.path is None:
            return ask(text)
        if not self.renew and (facts := self._read(self.path).get(text)) is not None:
            return facts
        facts = ask(text)
        self._add(self.path, text, facts)
        return facts

    def _add(self, path: Path, text: str, facts: Facts) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{path.name}.lock")), Batch() as batch:
            answers = {**self._read(path), text: facts}
            batch.write(path, f"{json.dumps(answers, indent=1, sort_keys=True)}\n".encode())

    def _read(self, path: Path) -> dict[str, Facts]:
        try:
            answers = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError):
            answers = None
        if not isinstance(answers, dict) or not all(isinstance(v, dict) for v in answers.values()):
            raise PyindexError(f"{path}: damaged; delete the file, hosts will be asked again")
        return dict(answers)


NOTHING = Answers()
"""No file: each host is asked each time."""
