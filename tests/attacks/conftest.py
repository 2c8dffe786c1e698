"""Index under attack: the embedded server, and nginx in front of it."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attacks.target import FORMS, Target, target
from tests.faults.commands import Commands, forking

FAILED = pytest.StashKey[bool]()


class SharedTarget:
    """Index for many attacks, replaced after a failed test."""

    def __init__(self, start: Callable[[ExitStack], Target]) -> None:
        self._start, self._stack = start, ExitStack()
        self._target: Target | None = None

    def target(self) -> Target:
        if self._target is None:
            self._target = self._start(self._stack)
        return self._target

    def close(self) -> None:
        self._target = None
        self._stack.close()


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with forking(tmp_path_factory.mktemp("commands")) as forked:
        yield forked


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: form.__name__)
def shared(
    request: pytest.FixtureRequest, commands: Commands, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedTarget]:
    def start(stack: ExitStack) -> Target:
        directory: Path = tmp_path_factory.mktemp("attacked")
        return stack.enter_context(target(request.param, directory, commands))

    shared_target = SharedTarget(start)
    yield shared_target
    shared_target.close()


@pytest.fixture
def attacked(shared: SharedTarget, request: pytest.FixtureRequest) -> Iterator[Target]:
    """Index shared by all attacks of a module; a new one after a failed test."""
    yield shared.target()
    if request.node.stash.get(FAILED, False):
        shared.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
