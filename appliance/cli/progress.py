"""Progress of long commands, on standard error."""

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn


class Progress:
    """The step of a command and the elapsed time, on a terminal. Elsewhere nothing, or with
    ``line_seconds`` a line with the step that often.

    Logging is set up inside of the ``with`` block: its lines appear above the step.
    """

    def __init__(self, step: str, line_seconds: float | None = None) -> None:
        self._bar = _bar(step) if sys.stderr.isatty() else None
        self._line_seconds = line_seconds
        self._next_line = time.monotonic() + (line_seconds or 0.0)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, step: str) -> None:
        """Show another step."""
        if self._bar:
            self._bar.columns = _step_columns()
            self._bar.update(self._bar.task_ids[0], description=step)
        else:
            self._print_line(step)

    def transfer(self, step: str, bytes_there: int, bytes_total: int) -> None:
        """Show a transfer: on a terminal with a bar, its rate and the time left."""
        if self._bar:
            if len(self._bar.columns) == len(_step_columns()):
                self._bar.columns = _transfer_columns()
                self._bar.reset(self._bar.task_ids[0], total=bytes_total)  # the rate from here on
            task = self._bar.task_ids[0]
            self._bar.update(task, description=step, completed=bytes_there, total=bytes_total)
        else:
            self._print_line(f"{step}, {bytes_there / 1e6:.0f} of {bytes_total / 1e6:.0f} MB")

    def _print_line(self, step: str) -> None:
        if self._line_seconds is not None and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._line_seconds
            print(step, file=sys.stderr, flush=True)

    def print(self, line: str) -> None:
        """Print a line to standard output, which may be the same terminal."""
        if self._bar:
            self._bar.stop()
        print(line, flush=True)
        if self._bar:
            self._bar.start()

    def print_all(self, lines: Iterable[str], is_quiet: bool = False) -> list[str]:
        """Print each line when it is made, unless ``is_quiet``; returns all."""
        printed = []
        for line in lines:
            if not is_quiet:
                self.print(line)
            printed.append(line)
        return printed


def _bar(step: str) -> "Bar":
    from rich.console import Console
    from rich.progress import Progress as Bar

    bar = Bar(
        *_step_columns(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
    bar.add_task(step, total=None)
    return bar


def _step_columns() -> "tuple[ProgressColumn, ...]":
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    return SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()


def _transfer_columns() -> "tuple[ProgressColumn, ...]":
    from rich import progress

    return (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
