"""Tables of attacks, for the tests that run them and the page that counts them."""

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from tests.attacks.trees import FILES as FEW


class HostileFile(Protocol):
    """File that must do no harm, and a part of the reason for its rejection."""

    name: str
    reason: str

    def write(self, directory: Path) -> Path:
        """Write the file into a directory and return its path."""


def _table(module: str, name: str) -> Any:
    """Return a table of a module of this package, or an empty list if the module does not exist."""
    if not Path(__file__).with_name(f"{module}.py").exists():
        return []
    return getattr(importlib.import_module(f"tests.attacks.{module}"), name)


FILES: list[Any] = [*FEW, *_table("files", "HOSTILE")]  # of HostileFile
REQUESTS: Collection[object] = _table("requests", "REQUESTS")
