"""Indexes that are reset to a saved state, and checks of their decisions."""

import os
import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel
from tests.faults.commands import Commands, Ended, forking
from tests.wholeness import agree, look

_T = TypeVar("_T")
_R = TypeVar("_R")

PROJECTS = 8


class Bench:
    """Lab with saved states, and commands that run on it."""

    def __init__(self, root: Path, commands: Commands) -> None:
        self.root, self.commands = root, commands
        self.lab = Lab(root)
        self._saves = root / "saves"

    def run(self, verb: str, *more: str | Path, strace: Sequence[str] | None = None) -> Ended:
        """Run a command on this index."""
        return self.commands.run(*self.argv(verb, *more), strace=strace)

    def argv(self, verb: str, *more: str | Path) -> list[str | Path]:
        source = [self.lab.packages] if verb == "watch" else ["-d", self.lab.packages]
        return [verb, *more, *source, "--state", self.lab.spec.state]

    def save(self, name: str) -> None:
        """Save files and state. Later, replace package files and never overwrite them."""
        save = self._saves / name
        shutil.rmtree(save, ignore_errors=True)
        _copy(self.lab.packages, save / "packages", os.link)
        if self.lab.spec.state.exists():
            _copy(self.lab.spec.state, save / "state", shutil.copy2)

    def reset(self, name: str) -> None:
        """Restore a saved state, with package files of the same inodes in the same directory."""
        save = self._saves / name
        _empty(self.lab.packages)
        _copy(save / "packages", self.lab.packages, os.link)
        shutil.rmtree(self.lab.spec.state, ignore_errors=True)
        if (save / "state").exists():
            _copy(save / "state", self.lab.spec.state, shutil.copy2)

    def furnished(self) -> None:
        """Reset to the state that :func:`furnish` creates."""
        if not (self._saves / "furnished").exists():
            furnish(self)
            self.save("furnished")
        self.reset("furnished")

    # --- recovery and checks -------------------------------------------------------------------

    def recover(self) -> None:
        """Update once as a user would, or run the command that the error message names."""
        ended = self.run("watch", "--once")
        if ended.code == 1 and "pyindex rebuild" in ended.err:
            ended = self.run("rebuild")
        assert_success(ended, "recovery: ")

    def remembered(self) -> "Memory":
        """Return what no failure may lose."""
        with self.lab.catalog.read() as reader:
            files = reader.offered(self.lab.index, limit=10_000)
            rows = reader.changed_projects(0)
            projects = reader.named(self.lab.index, [name for _, name in rows])
            return Memory(
                reader.serial(),
                {file.filename: file.yanked for file in files if file.yanked is not None},
                {
                    name: (project.status, project.status_reason)
                    for name, project in projects.items()
                    if project.status != "active"
                },
                self.page_serials(),
            )

    def page_serials(self) -> dict[str, str]:
        """Return the serial of each page by project: its mtime in hexadecimal."""
        pages = (self.lab.spec.www / "simple").glob("*/index.html")
        return {page.parent.name: f"{int(page.stat().st_mtime):x}" for page in pages}


@dataclass(frozen=True)
class Memory:
    """The last serial, reasons of yanks by file, statuses and page serials by project."""

    serial: int
    yanks: dict[str, str]
    statuses: dict[str, tuple[str, str | None]]
    pages: dict[str, str]


def check(bench: Bench, before: Memory) -> Memory:
    """Check that all copies agree and no serial decreased; return the new memory."""
    look(bench.lab)
    agree(bench.lab)
    after = bench.remembered()
    assert after.serial >= before.serial, f"serials ran back from {before.serial} to {after.serial}"
    for project, serial in after.pages.items():
        shown = before.pages.get(project, "0")
        assert int(serial) >= int(shown), f"the page of {project} ran back from {shown} to {serial}"
    return after


def assert_success(ended: Ended, doing: str = "") -> None:
    """Check that a command exited with 0 and without a traceback."""
    assert ended.code == 0, f"{doing}{ended}"
    assert "Traceback" not in ended.err, f"{doing}{ended}"


def furnish(bench: Bench) -> None:
    """Publish some projects of two releases with yanks and a status."""
    for number in range(PROJECTS):
        make_wheel(bench.lab.packages, f"p{number}", "1.0")
        make_sdist(bench.lab.packages, f"p{number}", "2.0")
    make_wheel(bench.lab.packages, "p6", "2.0")  # in addition to the sdist
    (bench.lab.packages / "sub").mkdir()
    make_wheel(bench.lab.packages / "sub", "p0", "3.0")
    for verb, *more in (
        ("watch", "--once"),
        ("yank", "p1==1.0", "--reason", "decided before"),
        ("status-set", "p2", "archived", "--reason", "decided before"),
    ):
        assert_success(bench.run(verb, *more))


@contextmanager
def benches(root: Path) -> Iterator[list[Bench]]:
    """Yield a bench for each core, with its own commands."""
    with ExitStack() as stack:
        ready = []
        for number in range(os.cpu_count() or 1):
            directory = root / f"bench{number}"
            directory.mkdir()
            ready.append(Bench(directory, stack.enter_context(forking(root / f"commands{number}"))))
        yield ready


def on_all(
    workplaces: Sequence[Bench], cases: Sequence[_T], work: Callable[[Bench, _T], _R]
) -> list[_R | BaseException]:
    """Return the result or exception of ``work`` for each case, each on a bench of its own."""
    free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
    for bench in workplaces:
        free.put(bench)

    def one(case: _T) -> _R | BaseException:
        bench = free.get()
        try:
            return work(bench, case)
        except Exception as error:
            return error
        finally:
            free.put(bench)

    pool = ThreadPoolExecutor(len(workplaces))
    try:
        return list(pool.map(one, cases))
    finally:
        pool.shutdown(cancel_futures=True)  # after a timeout the others need not run


def describe_failures(cases: Sequence[object], results: Sequence[object]) -> str:
    """Return the failed cases, one line for each kind of failure; empty if none failed."""
    ways: dict[str, list[str]] = {}
    for case, error in zip(cases, results, strict=True):
        if isinstance(error, BaseException):
            text = " / ".join(str(error).splitlines()[:12])[:1200]
            ways.setdefault(f"{type(error).__name__}: {text}", []).append(str(case))
    count = sum(map(len, ways.values()))
    lines = [f"{way} ({', '.join(which)})" for way, which in ways.items()]
    return "\n".join([f"{count} of {len(cases)} failed", *lines]) if ways else ""


def _copy(source: Path, target: Path, copy: Callable[[Any, Any], Any]) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=copy, dirs_exist_ok=True)


def _empty(directory: Path) -> None:
    for entry in list(os.scandir(directory)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry).unlink()
