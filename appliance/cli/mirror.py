"""``pyindex mirror``: the files that requirements need, from upstreams into an index."""

import gc
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance import logs
from appliance.cli.demands import Inputs, input_options
from appliance.cli.options import FILE, index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source
from appliance.cli.verdicts import facts, print_verdicts
from appliance.errors import PyindexError
from appliance.text import counted, printable

if TYPE_CHECKING:
    from appliance.mirror.mirror import Mirrored

# A run makes many objects that stay, and few cycles: looking for those took a tenth of its time.
_MANY = 200_000


@click.command(short_help="fetch what requirements need on given Pythons and platforms")
@input_options
@click.option("--no-deps", is_flag=True, help="fetch only what the inputs name")
@click.option(
    "--build",
    "builds",
    metavar="NAME",
    multiple=True,
    help="project to build a wheel of: its code runs, and that of what builds it",
)
@click.option("--index-url", metavar="URL", help="index to fetch from (default: see `upstreams`)")
@click.option(
    "--extra-index-url",
    "extra_index_urls",
    metavar="URL",
    multiple=True,
    help="index to fetch from in addition",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="print the files that are needed; fetch only sdists that must be read",
)
@click.option("--report", metavar="FILE", type=FILE, help="write the outcome to FILE as JSON")
@index_options
@json_option
def mirror(
    source: Source,
    index: str | None,
    inputs: Inputs,
    targets: tuple[str, ...],
    no_deps: bool,
    builds: tuple[str, ...],
    index_url: str | None,
    extra_index_urls: tuple[str, ...],
    dry_run: bool,
    report: Path | None,
    as_json: bool,
) -> int:
    """Fetch the files that the inputs need on each target, with what builds their sdists, into an
    index; then prove that they install from it alone. What is there is not fetched again, and an
    interrupted run continues. No code of a package runs, but for those that --build names. Exits
    with 1 if a file is missing.
    """
    gc.set_threshold(_MANY)
    from appliance.inputs.demand import Options
    from appliance.mirror.mirror import Job
    from appliance.mirror.mirror import mirror as run
    from appliance.targets.choice import choose

    names = frozenset(map(_project, builds))
    demands = inputs.required(names)
    spec, name = source.load_index(index)
    with source.naming_spec():
        chosen = choose(targets, spec)
    options = Options(index_url=index_url, extra_index_urls=extra_index_urls)
    job = Job(spec, name, demands, chosen, options, no_deps, dry_run, names)

    with Progress("resolving", line_seconds=5.0) as progress:
        logs.to_stderr()
        outcome = run(job, progress)
    outcome.plan.notes |= dict.fromkeys(inputs.notes())
    document = _document(outcome, name)
    if report is not None:
        _write(report, document)
    if as_json:
        print_json(document)
    else:
        _print(outcome, dry_run)
    return 0 if outcome.is_complete else 1


def _project(name: str) -> str:
    """The normalized name of a project. Raises :class:`PyindexError` for what is none."""
    from appliance.index.names import is_name, normalize

    if not is_name(name):
        raise PyindexError(f"--build {name!r}: not the name of a project; correct it")
    return normalize(name)


def _document(outcome: "Mirrored", index: str) -> dict[str, Any]:
    from appliance.upstream.urls import without_secrets

    plan, taken = outcome.plan, outcome.taken
    files = [
        {
            "filename": name,
            "size": file.size,
            "hashes": dict(file.hashes),
            "yanked": file.yanked,
            "url": without_secrets(outcome.built.origins.get(file.sha256 or "", file.url)),
            "targets": sorted(plan.targets[name]),
        }
        for name, file in sorted(plan.files.items())
    ]

    return {
        "index": index,
        "complete": outcome.is_complete,
        "bytes": plan.size,
        "files": files,
        "new": list(taken.new),
        "failed": [{"filename": f.file.filename, "reason": f.reason} for f in taken.failed],
        "unsolved": [asdict(each) for each in plan.unsolved],
        "notes": list(plan.notes),
        "proofs": [facts(verdict) for verdict in outcome.verdicts],
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    import json

    from appliance.atomic import Batch

    with Batch() as batch:
        batch.write(path.absolute(), (json.dumps(document, indent=2) + "\n").encode())


def _print(outcome: "Mirrored", dry_run: bool) -> None:
    plan, taken = outcome.plan, outcome.taken
    if dry_run:
        for name, file in sorted(plan.files.items()):
            print(f"{name}  {file.size or 0:,}  {', '.join(sorted(plan.targets[name]))}")
    for note in plan.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    for each in (*plan.unsolved, *(failed.reason for failed in taken.failed)):
        # A failed build ends with lines of its output.
        print("missing:", "\n".join(map(printable, str(each).splitlines())), file=sys.stderr)

    count = f"{counted(len(plan.files), 'file')}, {plan.size / 1e6:.1f} MB"
    if dry_run:
        print(count)
        return
    print(f"{count}: {len(taken.new)} new, {len(taken.failed) + len(plan.unsolved)} missing")
    print_verdicts(outcome.verdicts)
