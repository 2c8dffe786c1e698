"""``pyindex verify``: every file read and compared with what is known of it."""

import argparse
import json
import sys
import time
from dataclasses import asdict

from appliance.cli import common
from appliance.errors import NotFound
from appliance.operations.verify import Finding, Verification, verify

_TERMINAL_SECONDS, _LINE_SECONDS = 0.2, 30.0


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "verify",
        help="read every accepted file, and compare it with what is known of it",
        description="Read every accepted file and compare it with the size and digest that the "
        "catalog has, and check the published metadata, pages and marks, the catalog and the "
        "decisions log. Changes nothing. Exits 1 if anything is damaged. When it is interrupted, "
        "the next one goes on where it was.",
    )
    common.add_source(parser)
    parser.add_argument("--index", help="which index (default: all of the spec)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--restart", action="store_true", help="begin with the first file again")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    spec = common.source(arguments)
    if arguments.index and arguments.index not in spec.indexes:
        raise NotFound(f"no index {arguments.index!r}; the spec has {', '.join(spec.indexes)}")
    indexes = [arguments.index] if arguments.index else list(spec.indexes)
    progress = _Progress()
    told = 0
    for so_far in verify(spec, indexes, arguments.restart):
        new, told = so_far.findings[told:], len(so_far.findings)
        if new and not arguments.json:
            progress.clear()
            for finding in new:
                print(_sentence(finding), flush=True)
        progress.show(so_far)
    progress.clear()
    if arguments.json:
        print(json.dumps(asdict(so_far), indent=2))
    else:
        size = f"{so_far.bytes / 1e6:.0f} MB"
        print(f"{so_far.files} files, {size} verified: {len(so_far.damage)} problems")
    return 1 if so_far.damage else 0


def _sentence(finding: Finding) -> str:
    return ": ".join(filter(None, (finding.index, finding.path, finding.problem)))


class _Progress:
    """On a terminal one line that changes, elsewhere a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._terminal else _LINE_SECONDS)
        self._shown = False

    def show(self, so_far: Verification) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (_TERMINAL_SECONDS if self._terminal else _LINE_SECONDS)
        text = f"{so_far.index}: {so_far.files} files, {so_far.bytes / 1e6:.0f} MB"
        before, after = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        print(f"{before}{text}", end=after, file=sys.stderr, flush=True)
        self._shown = self._terminal

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
