"""Verdicts of proofs, as text and for JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from appliance.text import counted, printable

if TYPE_CHECKING:
    from appliance.resolution.proof import Verdict


def facts(verdict: "Verdict") -> dict[str, Any]:
    """Return a verdict for JSON."""
    return {
        "input": verdict.demand,
        "target": verdict.target,
        "client": verdict.client,
        "installs": verdict.installs,
        "files": [each.file.filename for each in verdict.files],
        "missing": [asdict(each) for each in verdict.missing],
        "notes": list(verdict.notes),
    }


def print_verdicts(verdicts: "Sequence[Verdict]") -> None:
    """Print a line for each verdict, then what is missing."""
    rows = [
        (each.demand, each.target, each.client, _result(each), counted(len(each.files), "file"))
        for each in verdicts
    ]
    if rows:
        print(_table(rows))
    for line in missing_lines(verdicts):
        print(line)


def missing_lines(verdicts: "Sequence[Verdict]") -> list[str]:
    """Return a line for each requirement that is missing on a target."""
    lines = (
        f"{each.target}: missing {m.requirement} (required by {m.required_by}): {m.reason}"
        for each in verdicts
        for m in each.missing
    )
    return list(dict.fromkeys(map(printable, lines)))


def _result(verdict: "Verdict") -> str:
    return "installs" if verdict.installs else f"lacks {len(verdict.missing)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
