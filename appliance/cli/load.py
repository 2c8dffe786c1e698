"""``pyindex load``, ``pyindex state`` and ``pyindex receipts``: the receiving side of bundles."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance import logs
from appliance.cli.options import FILE, index_options, json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source, check_index
from appliance.text import counted

if TYPE_CHECKING:
    from appliance.bundle.load import Loaded


@click.command(short_help="load a bundle, or a directory of files, into an index")
@click.argument(
    "bundles",
    metavar="BUNDLE...",
    nargs=-1,
    required=True,
    type=FILE,
    help="all volumes of one bundle, or one directory of package files",
)
@index_options
@click.option(
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    help="public key that must have signed, or its file; in addition to `bundles.keys`",
)
@click.option("--allow-unsigned", is_flag=True, help="load without a signature in spite of keys")
@click.option("--allow-older", is_flag=True, help="load a bundle that is older than the last")
@click.option("--dry-run", is_flag=True, help="verify and compare, and change nothing")
@json_option
def load(
    source: Source,
    index: str | None,
    bundles: tuple[Path, ...],
    keys: tuple[str, ...],
    allow_unsigned: bool,
    allow_older: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Load a bundle, or a directory of package files, into an index: all of it, or nothing. No file
    is replaced; decisions that were made in this index stay. The index may be running. Prints the
    path of a receipt; to repeat a load changes nothing.
    """
    from appliance.bundle.load import Options
    from appliance.bundle.load import load as load_bundle

    spec, name = source.load_index(index)
    options = Options(keys, allow_unsigned, allow_older, dry_run)
    with Progress("loading") as progress:
        logs.to_stderr()
        loaded = load_bundle(spec, name, bundles, options, progress.update)
    _print(loaded, name, dry_run, as_json)


def _print(loaded: "Loaded", index: str, dry_run: bool, as_json: bool) -> None:
    result = "would load" if dry_run else "loaded"
    if not dry_run and loaded.receipt is None:
        result = "already loaded"
    if as_json:
        facts = {"new": loaded.new, "files": loaded.files, "decisions": loaded.decisions}
        receipt = str(loaded.receipt) if loaded.receipt else None
        head = {"index": index, "bundle": loaded.bundle, "result": result, "key": loaded.key}
        print_json(head | facts | {"receipt": receipt})
        return

    signed = f"signed by {loaded.key}" if loaded.key else "signature not checked"
    print(
        f"{result} bundle {loaded.bundle[:12]} ({signed}): {len(loaded.new)} new of"
        f" {counted(loaded.files, 'file')}, {counted(loaded.decisions, 'decision')}"
    )
    if loaded.receipt:
        print(loaded.receipt)


@click.command(short_help="print what an index has, for the next bundle to leave it out")
@index_options
@click.option("--full", is_flag=True, help="print the digest and path of each file")
@json_option
def state(source: Source, index: str | None, full: bool, as_json: bool) -> None:
    """Print one line that names the bundles an index has in full, for `pyindex bundle --since` on
    the side that makes bundles; with `--full` all files, for a side that does not know the bundles.
    """
    from appliance.bundle import tokens

    spec = source.load()
    name = index or spec.root
    check_index(spec, name)
    if full:
        lines = list(tokens.listed(spec, name))
        print_json({"index": name, "files": lines}) if as_json else print(*lines, sep="\n")
        return
    token = tokens.token(spec, name)
    print_json({"index": name, "token": token}) if as_json else print(token)


@click.command(short_help="list the receipts of loads")
@source_options
@json_option
def receipts(source: Source, as_json: bool) -> None:
    """List the receipts of loads, oldest first: time, index, bundle, number of new files, path."""
    from appliance.bundle.receipts import listing

    rows = listing(source.load().state)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(
            f"{row['time']} {row['index']} {row['bundle']:.12} {row['new']} new of"
            f" {counted(int(row['files']), 'file')} {row['path']}"
        )
