"""The lock of a watcher, ``<state>/watch.lock``: whether one is running, and for which layout."""

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

# Attempts to get the lock, and the pause: :func:`is_watched` holds it for a moment.
_TRIES, _PAUSE_SECONDS = 5, 0.02


@contextlib.contextmanager
def watching(spec: Spec) -> Iterator[None]:
    """Hold the lock as a watcher; the system releases it when the process ends.

    Raises :class:`PyindexError` if another watcher publishes another layout to the same state
    directory.
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
    """Raise :class:`PyindexError` if a watcher publishes another layout to the same state
    directory."""
    try:
        file = (spec.state / "watch.lock").open()
    except OSError:
        return  # a user without permission gets an error for the pages
    with file:
        if not _is_free(file):
            _check_same(spec, file)


def is_watched(spec: Spec) -> bool:
    """Return whether a watcher is running."""
    try:
        with (spec.state / "watch.lock").open() as file:
            return not try_lock(file)
    except FileNotFoundError:
        return False


def _is_free(file: IO[str]) -> bool:
    """Lock a file unless a watcher has locked it; return whether that was possible."""
    for _ in range(_TRIES):
        if try_lock(file):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _check_same(spec: Spec, file: IO[str]) -> None:
    """Raise :class:`PyindexError` if the layout that a watcher wrote to ``file`` is another."""
    share_lock(file)
    file.seek(0)
    text, local = file.read(), described(spec)
    try:
        other: dict[str, str] = dict(json.loads(text))
    except (ValueError, TypeError):
        return  # of an older version, without layout

    differences = [
        f"{key} is {other.get(key, 'another')} there and {local.get(key, 'another')} here"
        for key in {**local, **other}
        if other.get(key) != local.get(key)
    ]
    if differences:
        raise PyindexError(
            f"state directory {spec.state}: in use by a watcher with another configuration"
            f" ({', '.join(differences)}); stop that watcher, or choose another state directory"
        )
