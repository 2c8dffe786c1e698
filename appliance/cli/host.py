"""``pyindex host``: the files and releases of this host."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import DIRECTORY, Number, json_option
from appliance.cli.output import print_json

if TYPE_CHECKING:
    from appliance.host import Change

_MOST_RELEASES = 1000

_root_option = click.option(
    "--root",
    metavar="DIR",
    type=DIRECTORY,
    default=Path("/"),
    help="root directory of the host (default: /)",
)
_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="print what would change, and change nothing"
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    return _root_option(_dry_run_option(json_option(function)))


@click.group(short_help="place files, switch releases, or remove the appliance of this host")
def host() -> None:
    """Change this host. Ansible runs these commands. A command that was interrupted completes when
    it is run again.
    """


@host.command(short_help="place rendered files and switch to a release")
@click.argument("directory", metavar="DIR", type=DIRECTORY, help="rendered files with files.json")
@click.option("--release", metavar="NAME", required=True, help="an installed release")
@_options
def apply(directory: Path, release: str, root: Path, dry_run: bool, as_json: bool) -> None:
    """Place the files that `pyindex render` wrote, delete those that are no longer rendered, and
    switch to a release. DIR also contains `files.json`, the output of `pyindex render --json`.
    """
    from appliance.host import HostPaths, apply

    _print(apply(HostPaths(root), directory, release, dry_run), dry_run, as_json)


@host.command(short_help="switch to the previous release and its files")
@click.option(
    "--failed",
    is_flag=True,
    help="return from a release whose verification install failed; it does not become the previous"
    " release",
)
@_options
def rollback(failed: bool, root: Path, dry_run: bool, as_json: bool) -> None:
    """Switch to the previous release and the files that were placed with it. The release that ran
    is then the previous one: another rollback returns to it.
    """
    from appliance.host import HostPaths, rollback

    _print(rollback(HostPaths(root), failed, dry_run), dry_run, as_json)


@host.command(short_help="have programs load the files that were placed")
@click.argument("part", metavar="PART", help="base (the system), service or nginx")
@click.option("--force", is_flag=True, help="also if they have loaded the files already")
@json_option
def load(part: str, force: bool, as_json: bool) -> None:
    """Create directories (base), restart the services (service) or reload nginx (nginx) if `apply`
    or `rollback` reported the part as pending. A part whose programs fail stays pending.
    """
    from appliance.host import HostPaths, load_files

    is_loaded = load_files(HostPaths(Path("/")), part, force)
    if as_json:
        print_json({"changed": is_loaded})
    else:
        print(f"{part}: {'loaded' if is_loaded else 'unchanged'}")


@host.command(short_help="delete old releases")
@click.option(
    "--keep",
    metavar="N",
    type=Number(0, _MOST_RELEASES),
    required=True,
    help="number of releases to keep, with the running one and the previous one",
)
@_root_option
@json_option
def prune(keep: int, root: Path, as_json: bool) -> None:
    """Delete the oldest releases, and accept the running one: `rollback --failed` no longer returns
    from it.
    """
    from appliance.host import HostPaths, prune

    pruned = prune(HostPaths(root), keep)
    if as_json:
        print_json(asdict(pruned))
    else:
        _print_lines("deleted", pruned.removed)


@host.command(short_help="remove the appliance from this host")
@click.option(
    "--data",
    metavar="DIR",
    multiple=True,
    help="also remove this directory of packages, catalog or backups, if a play has created it; may"
    " be repeated",
)
@_options
def remove(data: tuple[str, ...], root: Path, dry_run: bool, as_json: bool) -> None:
    """Remove placed files, releases, logs and records. Package files, catalog and backups stay
    unless `--data` names their directories. Stop the services before.
    """
    from appliance.host import HostPaths, remove

    removal = remove(HostPaths(root), data, dry_run)
    if as_json:
        print_json({"changed": removal.changed} | asdict(removal))
        return
    _print_lines("would remove" if dry_run else "removed", removal.removed)
    for path, reason in removal.remaining.items():
        print(f"not removed {path}: {reason}")


def _print(change: "Change", dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(asdict(change))
        return
    _print_lines("would place" if dry_run else "placed", change.placed)
    _print_lines("would remove" if dry_run else "removed", change.removed)
    print(f"release {change.release}, previous {change.previous or 'none'}")
    print(f"not loaded yet: {', '.join(change.pending) or 'nothing'}")


def _print_lines(verb: str, paths: Sequence[str]) -> None:
    for path in paths:
        print(f"{verb} {path}")
