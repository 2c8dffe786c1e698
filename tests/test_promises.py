"""Figures of docs/concepts/guarantees.md: those of the tables that tests run.

``python -m tests.test_promises`` rewrites them.
"""

import re
from pathlib import Path

from tests.attacks.forms import UPLOADS
from tests.attacks.tables import FILES, REQUESTS
from tests.attacks.target import FORMS
from tests.attacks.test_paths import PATHS
from tests.attacks.trees import SWAPS, TREES
from tests.faults.test_beside import BETWEEN_CHECKS, CHECKS, PAIRS, STORIES
from tests.faults.test_damage import DAMAGES
from tests.faults.test_errors import FAULTS, LASTING, ONCE, TEMPORARY_FAULTS
from tests.faults.test_kills import EXAMINERS, VERBS, WORKLOADS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "concepts" / "guarantees.md"
BLOCK = re.compile("(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.S)


def figures() -> str:
    """Return the table of how often each case is tried."""
    rounds = STORIES * CHECKS * BETWEEN_CHECKS
    rows = {
        f"kills of {len(VERBS)} commands, each before another system call": sum(
            v.kills for v in VERBS
        ),
        "kills of an examiner process": EXAMINERS * len(WORKLOADS),
        f"kills during concurrent work, in {len(PAIRS)} pairs": len(PAIRS) * rounds,
        f"failing calls, of {len(FAULTS)} kinds": sum(
            ONCE + (LASTING if fault.names != "write" else 0) for fault in FAULTS
        ),
        "failures under a running watcher": len(TEMPORARY_FAULTS),
        "damaged catalogs": sum(damage.count for damage in DAMAGES),
        "hostile files": len(FILES),
        "hostile forms of uploads": len(UPLOADS),
        "hostile trees and replaced files": len(TREES) + len(SWAPS),
        "hostile requests and paths": len(REQUESTS) + len(PATHS),
        "servers that each of the last two runs against": len(FORMS),
    }
    lines = [f"| {what} | {count} |" for what, count in rows.items()]
    return "\n".join(["", "| attempts | at most |", "| --- | ---: |", *lines, "", ""])


def test_guarantees_have_figures_of_tests() -> None:
    """The page has the figures of the tests."""
    (written,) = BLOCK.findall(PAGE.read_text())
    assert written == figures(), "run: python -m tests.test_promises"


def test_guarantees_name_existing_tests() -> None:
    """The page names only test files that exist."""
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGE.read_text())
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(figures(), PAGE.read_text()))
