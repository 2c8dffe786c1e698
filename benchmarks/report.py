"""What was measured, as values, as a table for people, and as JSON for the next run."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

GROWTH_GROUP = "Growth with the number of files"


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

    def cells(self) -> tuple[str, ...]:
        """Return the figure as the cells of a table's row."""
        goal = f"{self.goal.relation} {number(self.goal.bound)}" if self.goal else ""
        measured = f"**{number(self.value)}** {self.unit}"
        return self.what, f"{self.files:,}", measured, goal, self.verdict, self.detail


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


def growth(figures: Sequence[Figure], steady: Mapping[tuple[str, str], Goal]) -> Iterator[Figure]:
    """Yield, for each (group, what) of ``steady``, how many times as much it is with the most
    files as with the fewest; nothing where it was measured with one number of files only."""
    for (group, what), goal in steady.items():
        same = [each for each in figures if (each.group, each.what) == (group, what)]
        same.sort(key=lambda figure: figure.files)
        if len(same) > 1:
            times = same[-1].value / same[0].value
            unit = f"of that at {same[0].files:,}"
            detail = ", then ".join(f"{number(each.value)} {each.unit}" for each in same)
            yield Figure(GROWTH_GROUP, what, same[-1].files, times, unit, goal, detail)


def number(value: float) -> str:
    """Return three significant digits, thousands apart: 0.97, 12.3, 104,512."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def row(cells: Iterable[str]) -> str:
    """Return one row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _table(figures: Iterable[Figure]) -> list[str]:
    head = ("what", "files", "measured", "goal", "", "made of")
    return [row(head), row(["---"] * len(head)), *(row(each.cells()) for each in figures)]
