"""``pyindex status``: projects, rejected files and problems."""

from typing import Any

import click

from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.source import Source
from appliance.text import counted

_SHOWN = 5


@click.command(short_help="show projects, rejected files and problems")
@source_options
@json_option
def status(source: Source, as_json: bool) -> int:
    """Show the projects of each index, each rejected file with the reason, and each problem that
    stops or delays serving or publishing. Exits with 1 if there is a rejected file or a problem.
    Names that are never package files (README, index.html, partial downloads) are ignored, which is
    no problem.
    """
    from appliance.operations.status import status as read_status

    facts = read_status(source.load())
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    is_rejected = any(index["refused"] for index in facts["indexes"].values())
    return 1 if is_rejected or facts["problems"] else 0


def _print(facts: dict[str, Any]) -> None:
    watcher = ", watcher running" if facts["watched"] else ""  # a problem otherwise
    print(f"state {facts['state']}{watcher}")
    print(f"serial {facts['serial']}, published up to {facts['published']}")
    for problem in facts["problems"]:
        print(f"problem: {problem}")
    for name, index in facts["indexes"].items():
        counts = f"{counted(index['projects'], 'project')}, {counted(index['files'], 'file')}"
        print(f"{name}: {counts}, {index['packages']}")
        _print_names(index)


def _print_names(index: dict[str, Any]) -> None:
    for rejection in index["refused"]:
        print(f"  rejected {rejection['path']}: {rejection['reason']}")
    if ignored := index["ignored"]:
        more = ", ..." if len(ignored) > _SHOWN else ""
        print(f"  ignored {len(ignored)}: {', '.join(ignored[:_SHOWN])}{more}")
