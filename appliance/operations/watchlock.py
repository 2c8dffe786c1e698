"""The lock of a watcher, ``<state>/watch.lock``: whether one runs, and what it publishes."""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import IO

from appliance.atomic import make_directory
from appliance.errors import PyindexError
from appliance.locks import share_lock, try_lock
from appliance.site.layout import described
from appliance.spec import Spec

# How often to try for the lock, and the pause: who asks whether a watcher runs has it for a moment.
_TRIES, _PAUSE_SECONDS = 5, 0.02


@contextlib.contextmanager
def watching(spec: Spec) -> Iterator[None]:
    """Hold the lock as a watcher; it ends with the process, however that ends.

    Raises :class:`PyindexError` if another publishes something else for the same state.
    """
    make_directory(spec.state)
    with (spec.state / "watch.lock").open("a+") as file:
        if _is_free(file):
            file.truncate(0)
            file.write(json.dumps(described(spec)))
            file.flush()
            share_lock(file)
        else:
            _check_same(spec, file)
        yield


def check_alone(spec: Spec) -> None:
    """Raise :class:`PyindexError` if a watcher is running that publishes something else for the
    same state."""
    try:
        file = (spec.state / "watch.lock").open()
    except OSError:
        return  # who may not read it learns it when the pages are asked for
    with file:
        if not _is_free(file):
            _check_same(spec, file)


def is_watched(spec: Spec) -> bool:
    """Whether a watcher is running."""
    try:
        with (spec.state / "watch.lock").open() as file:
            return not try_lock(file)
    except FileNotFoundError:
        return False


def _is_free(file: IO[str]) -> bool:
    """Lock a file that no watcher has locked; returns whether that was possible."""
    for _ in range(_TRIES):
        if try_lock(file):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _check_same(spec: Spec, file: IO[str]) -> None:
    """What the holder of the lock on ``file`` has written there is of the same layout."""
    share_lock(file)
    file.seek(0)
    text, ours = file.read(), described(spec)
    try:
        theirs: dict[str, str] = dict(json.loads(text))
    except (ValueError, TypeError):
        return  # of an older version, which says less

    differences = [
        f"{what} is {theirs.get(what, 'another')} there and {ours.get(what, 'another')} here"
        for what in {**ours, **theirs}
        if theirs.get(what) != ours.get(what)
    ]
    if differences:
        raise PyindexError(
            f"state directory {spec.state}: in use by a watcher with another configuration"
            f" ({', '.join(differences)}); stop that watcher, or choose another state directory"
        )
