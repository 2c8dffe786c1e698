"""``pyindex render``: the spec to the files of a host."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from appliance import spec as specs
from appliance.cli import common
from appliance.render import HostFile, check, files, place, select, system, without_ipv6


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "render",
        help="make the files of a host from a spec",
        description="Make the files of a host from a spec: units, nginx site, client files and "
        "what is around them. Prints them unless an option says otherwise. The same spec gives "
        "the same bytes.",
    )
    common.add_spec(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--out", metavar="DIR", type=Path, help="write them below this directory")
    what.add_argument(
        "--diff", action="store_true", help="compare with what is on this host; 1 if it differs"
    )
    what.add_argument(
        "--check",
        action="store_true",
        help="have each file read by the program that it is for; 1 if one complains",
    )
    parser.add_argument(
        "--root", metavar="DIR", type=Path, default=Path("/"), help="compare below DIR (default: /)"
    )
    parser.add_argument(
        "--only",
        metavar="PART",
        action="append",
        help="only the files of this part (base, nginx or service), or one file by its path on the"
        " host; may be repeated",
    )
    parser.add_argument(
        "--no-ipv6",
        action="store_true",
        help="for a host without IPv6: nginx listens at its addresses alone",
    )
    parser.add_argument(
        "--json", action="store_true", help="print path, part, mode, owner and digest of each"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    path = common.spec_path(arguments)
    spec = specs.load(path)
    with common.about(path):
        found = files(without_ipv6(spec) if arguments.no_ipv6 else spec)
    if arguments.only:
        found = select(found, arguments.only)
    if arguments.out:
        place.write(found, arguments.out)
    if arguments.json:
        print(json.dumps([_described(file) for file in found], indent=1))
        return 0
    if arguments.diff:
        return _say(list(place.diff(found, arguments.root)))
    if arguments.check:
        return _checked(check.check(found, system.of(spec).systemd))
    if not arguments.out:
        for file in found:
            print(f"==> {file.path} ({file.mode:04o} {file.owner}:{file.group})\n{file.content}")
    return 0


def _say(lines: Sequence[str]) -> int:
    """Print a difference; 1 if there is one."""
    for line in lines:
        end = "" if line.endswith("\n") else "\n"
        sys.stdout.write(os.fsencode(line).decode(errors="replace") + end)
    return 1 if lines else 0


def _checked(verdicts: Iterable[check.Verdict]) -> int:
    status = 0
    for verdict in verdicts:
        print(f"{verdict.path}: {verdict.program}: {verdict.output}")
        status = status if verdict.good else 1
    return status


def _described(file: HostFile) -> dict[str, str]:
    return {
        "path": file.path,
        "part": file.part,
        "mode": f"{file.mode:04o}",
        "owner": file.owner,
        "group": file.group,
        "sha256": hashlib.sha256(file.content.encode()).hexdigest(),
    }
