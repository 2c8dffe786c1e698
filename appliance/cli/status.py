"""``pyindex status``: what the index holds, and what it refused."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from appliance.catalog.database import Catalog
from appliance.cli import common
from appliance.incoming.directory import DirectoryMissing, PackagesDirectory
from appliance.operations.health import health
from appliance.operations.watch import is_alive
from appliance.spec import Spec

# Names of a packages directory that are looked at for those that are ignored.
_NAMES = 50_000
_SHOWN = 5


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "status",
        help="show what the index holds, and what it refused and why",
        description="Show what each index holds, and each file that could not be taken in, with "
        "the reason, and what keeps the index from serving or from taking files in, or makes it "
        "late. Exits 1 if there is any of these. Names that are no packages anywhere (README, "
        "index.html, partial downloads) are ignored, which is no problem.",
    )
    common.add_source(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found = status(common.source(arguments))
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    refused = any(index["refused"] for index in found["indexes"].values())
    return 1 if refused or found["problems"] else 0


def status(spec: Spec) -> dict[str, Any]:
    """State, serials, problems, and for each index its counts, rejections, and ignored names."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        indexes = {}
        for name, index in spec.indexes.items():
            projects, files = reader.counts(name)
            indexes[name] = {
                "packages": str(index.packages),
                "projects": projects,
                "files": files,
                "refused": [asdict(refusal) for refusal in reader.rejections(name)],
                "ignored": _ignored(spec, name),
            }
        serial, published = reader.serial(), reader.mark("pages")
    found = health(spec, catalog)
    return {
        "state": str(spec.state),
        "status": found.status,
        "serial": serial,
        "published": published,
        "watched": is_alive(spec),
        "problems": found.problems,
        "indexes": indexes,
    }


def _ignored(spec: Spec, index: str) -> list[str]:
    try:
        return PackagesDirectory(spec.indexes[index].packages).ignored(_NAMES)
    except (OSError, DirectoryMissing):
        return []  # the watcher tells why


def _show(found: dict[str, Any]) -> None:
    watched = "being watched" if found["watched"] else "NOT being watched: run `pyindex serve`"
    print(f"state {found['state']}, {watched}")
    print(f"serial {found['serial']}, published up to {found['published']}")
    for problem in found["problems"]:
        print(f"problem: {problem}")
    for name, index in found["indexes"].items():
        print(f"{name}: {index['projects']} projects, {index['files']} files, {index['packages']}")
        for refusal in index["refused"]:
            print(f"  refused {refusal['path']}: {refusal['reason']}")
        if ignored := index["ignored"]:
            more = ", ..." if len(ignored) > _SHOWN else ""
            print(f"  ignored {len(ignored)}: {', '.join(ignored[:_SHOWN])}{more}")
