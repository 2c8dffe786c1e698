"""The tables of attacks, for the tests that run them and the page that tells of them."""

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from tests.attacks.trees import FILES as FEW


class HostileFile(Protocol):
    """A file that must do no harm, and a part of the reason for which it is refused."""

    name: str
    reason: str

    def write(self, directory: Path) -> Path:
        """Write it into a directory; its path."""


def _table(module: str, name: str) -> Any:
    """A table of a module of this package; empty as long as there is no such module."""
    if not Path(__file__).with_name(f"{module}.py").exists():
        return []
    return getattr(importlib.import_module(f"tests.attacks.{module}"), name)


FILES: list[Any] = [*FEW, *_table("files", "HOSTILE")]  # HostileFile, each
REQUESTS: Collection[object] = _table("requests", "REQUESTS")
