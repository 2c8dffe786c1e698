"""``pyindex render``: the spec to the files of a host."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.options import DIRECTORY, json_option, spec_options
from appliance.cli.output import print_json
from appliance.cli.source import naming_spec

if TYPE_CHECKING:
    from appliance.render import HostFile
    from appliance.spec import Spec


@click.command(short_help="render the files of a host from a spec")
@spec_options
@click.option("--out", metavar="DIR", type=DIRECTORY, help="write the files below this directory")
@click.option(
    "--diff",
    is_flag=True,
    help="compare the files with those of this host; exits with 1 if they differ",
)
@click.option(
    "--check",
    is_flag=True,
    help="check each file with the program that reads it; exits with 1 if one reports an error",
)
@click.option(
    "--root",
    metavar="DIR",
    type=DIRECTORY,
    default=Path("/"),
    help="root directory of the files to compare with (default: /)",
)
@click.option(
    "--only",
    metavar="PART",
    multiple=True,
    help="only the files of this part (base, nginx or service), or one file by its path on the"
    " host; may be repeated",
)
@click.option(
    "--no-ipv6", is_flag=True, help="for a host without IPv6: nginx listens on IPv4 addresses only"
)
@json_option
def render(
    path: Path,
    out: Path | None,
    diff: bool,
    check: bool,
    root: Path,
    only: tuple[str, ...],
    no_ipv6: bool,
    as_json: bool,
) -> int:
    """Render the files of a host from a spec: units, nginx site, client settings and others. Prints
    them, unless `--out`, `--diff` or `--check` says otherwise. The same spec gives the same bytes.
    With `--json`, prints path, part, mode, owner and digest of each file.
    """
    if (out is not None) + diff + check > 1:
        raise click.UsageError("pass only one of --out, --diff and --check")

    from appliance.spec import load

    spec = load(path)
    with naming_spec(path):
        files = _render(spec, only, no_ipv6)

    if out is not None:
        from appliance.render import place

        place.write(files, out)
    if diff:
        return _diff(files, root, as_json)
    if check:
        return _check(files, spec, as_json)
    if as_json:
        print_json([file.listed() for file in files])
    elif out is None:
        for file in files:
            print(f"==> {file.path} ({file.mode:04o} {file.owner}:{file.group})\n{file.content}")
    return 0


def _render(spec: "Spec", only: Sequence[str], no_ipv6: bool) -> "list[HostFile]":
    from appliance.render import files, select, without_ipv6

    rendered = files(without_ipv6(spec) if no_ipv6 else spec)
    return select(rendered, only) if only else rendered


def _diff(files: "Sequence[HostFile]", root: Path, as_json: bool) -> int:
    """Print how the files below ``root`` would change; 1 if they would."""
    from appliance.render import place

    lines = [os.fsencode(line).decode(errors="replace") for line in place.diff(files, root)]
    if as_json:
        print_json({"differs": bool(lines), "diff": lines})
    else:
        for line in lines:
            sys.stdout.write(line if line.endswith("\n") else f"{line}\n")
    return 1 if lines else 0


def _check(files: "Sequence[HostFile]", spec: "Spec", as_json: bool) -> int:
    """Print what programs report about the files; 1 if one reports an error."""
    from appliance.render import check, system

    verdicts = []
    for verdict in check.check(files, system.of(spec).systemd):
        verdicts.append(verdict)
        if not as_json:
            print(f"{verdict.path}: {verdict.program}: {verdict.output}")
    if as_json:
        print_json([asdict(verdict) for verdict in verdicts])
    return 0 if all(verdict.good for verdict in verdicts) else 1
