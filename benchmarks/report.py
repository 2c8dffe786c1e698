"""What was measured, as values, as a table for people, and as JSON for the next run."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Goal:
    """A bound that a figure must keep."""

    relation: Literal["at least", "at most"]
    bound: float

    def met(self, value: float) -> bool:
        """Tell whether ``value`` keeps the bound."""
        return value >= self.bound if self.relation == "at least" else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One figure; ``detail`` says in words what it was made of."""

    group: str
    what: str
    files: int
    value: float
    unit: str
    goal: Goal | None = None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """Return "met", "NOT MET", or nothing where there is no goal."""
        if self.goal is None:
            return ""
        return "met" if self.goal.met(self.value) else "NOT MET"


@dataclass(frozen=True)
class Report:
    """A run: the machine and the programs it was made with, and its figures."""

    machine: dict[str, str]
    figures: list[Figure] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Return a run that ``save`` wrote."""
        data: dict[str, Any] = json.loads(path.read_text())
        figures = [
            Figure(**row | {"goal": Goal(**row["goal"]) if row["goal"] else None})
            for row in data["figures"]
        ]
        return cls(data["machine"], figures)

    @property
    def missed(self) -> list[Figure]:
        """Return the figures that do not keep their goal."""
        return [figure for figure in self.figures if figure.verdict == "NOT MET"]

    def markdown(self) -> str:
        """Return one table a group, in the order in which groups were first measured."""
        lines = [f"- {what}: {value}" for what, value in self.machine.items()]
        order = list(dict.fromkeys(figure.group for figure in self.figures))
        by_group = sorted(self.figures, key=lambda figure: order.index(figure.group))
        for group, figures in groupby(by_group, key=lambda figure: figure.group):
            lines += ["", f"## {group}", "", *_table(figures)]
        count = sum(figure.goal is not None for figure in self.figures)
        lines += ["", f"{count - len(self.missed)} of {count} goals met."]
        return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Return three significant digits, thousands apart: 0.97, 12.3, 104,512."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(figures: Iterable[Figure]) -> list[str]:
    head = ("what", "files", "measured", "goal", "", "made of")
    return [_row(head), _row(["---"] * len(head)), *(_row(_cells(each)) for each in figures)]


def _cells(figure: Figure) -> Sequence[str]:
    goal = f"{figure.goal.relation} {number(figure.goal.bound)}" if figure.goal else ""
    measured = f"**{number(figure.value)}** {figure.unit}"
    return figure.what, f"{figure.files:,}", measured, goal, figure.verdict, figure.detail


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
