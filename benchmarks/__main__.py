"""Measure, print the tables, and write the figures as JSON; ends 1 when a goal is missed."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import corpus, reading, servers, tools, writing
from benchmarks.load import LoadError, Wrk
from benchmarks.report import Figure, Report

CACHE = Path(".cache/bench").absolute()
RESULTS = Path("benchmarks/results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = _measure(options.sizes)
    except (tools.ToolError, servers.ServerError, LoadError, writing.NeverSeen) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    out = options.out or RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    report.save(out)
    print(report.markdown())
    print(f"Written to {out}.")
    return 1 if report.missed else 0
