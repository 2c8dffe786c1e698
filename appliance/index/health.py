"""Whether an index can serve, and what stands in the way."""

import os
import shutil
from collections.abc import Iterator

from appliance.index.store import PAGES, Site
from appliance.spec import Spec

_WANTED_MB = 64


def failures(spec: Spec) -> Iterator[str]:
    """Why pages or files cannot be served, a sentence each; nothing if they can."""
    site = Site(spec)
    for name, index in spec.indexes.items():
        if not os.access(index.packages, os.R_OK | os.X_OK):
            yield f"{name}: packages directory {index.packages} is missing or cannot be read"
        if not (site.simple(name) / PAGES[0]).is_file():
            yield f"{name}: nothing is published yet"


def shortages(spec: Spec) -> Iterator[str]:
    """What keeps changes from being taken in, a sentence each."""
    if spec.state.is_dir() and (left := _free_mb(spec)) < _WANTED_MB:
        yield (
            f"{left} MB are left on the disk of {spec.state}, and {_WANTED_MB} MB are wanted:"
            " free some space"
        )


def _free_mb(spec: Spec) -> int:
    return shutil.disk_usage(spec.state).free // 1_000_000
