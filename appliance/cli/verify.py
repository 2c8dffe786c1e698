"""``pyindex verify``: every file and page, compared with the catalog."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source, check_index
from appliance.text import counted

if TYPE_CHECKING:
    from appliance.operations.verify import Finding, Verification

_LINE_SECONDS = 30.0


@click.command(short_help="compare every file and page with the catalog")
@source_options
@click.option("--index", help="name of the index (default: all from the spec)")
@json_option
@click.option("--restart", is_flag=True, help="begin with the first file")
def verify(source: Source, index: str | None, as_json: bool, restart: bool) -> int:
    """Read every accepted file and compare it with its size and digest in the catalog; check the
    published pages, metadata and markers, the catalog and the decision log. Changes nothing. Exits
    with 1 if anything is damaged. After an interruption the next run resumes.
    """
    from appliance.operations.verify import verify as verify_indexes

    spec = source.load()
    if index:
        check_index(spec, index)

    indexes = [index] if index else list(spec.indexes)
    with Progress("verifying", _LINE_SECONDS) as progress:
        result = _show(verify_indexes(spec, indexes, restart), progress, is_quiet=as_json)

    if as_json:
        print_json(asdict(result))
    else:
        size = f"{result.bytes / 1e6:.0f} MB"
        files, problems = counted(result.files, "file"), counted(len(result.damage), "problem")
        print(f"{files}, {size} verified: {problems}")
    return 1 if result.damage else 0


def _show(steps: "Iterable[Verification]", progress: Progress, is_quiet: bool) -> "Verification":
    """Show the progress and each finding, unless ``is_quiet``; returns the result."""
    printed = 0
    for step in steps:
        if not is_quiet:
            for finding in step.findings[printed:]:
                progress.print(_sentence(finding))
            printed = len(step.findings)
        progress.update(f"{step.index}: {counted(step.files, 'file')}, {step.bytes / 1e6:.0f} MB")
    return step


def _sentence(finding: "Finding") -> str:
    return ": ".join(filter(None, (finding.index, finding.path, finding.problem)))
