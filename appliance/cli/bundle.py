"""``pyindex bundle`` and ``pyindex bundle-key``: an archive of files of an index for another."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.demands import Inputs, input_options
from appliance.cli.options import FILE, index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from appliance.index.model import File
    from appliance.inputs.demand import Demand
    from appliance.spec import Spec


@click.command(short_help="write the files of an index into an archive, for another index")
@click.argument("out", metavar="OUT", type=FILE, help="the archive to write")
@input_options
@click.option("--no-deps", is_flag=True, help="bundle only what the inputs name")
@index_options
@click.option(
    "--since",
    metavar="TOKEN",
    help="leave out what the other index has: the line that `pyindex state` prints there, or a file"
    " with the output of `pyindex state --full`, or a receipt",
)
@click.option(
    "--volume",
    metavar="SIZE",
    help="write volumes of at most this size, such as 4g: OUT.001, OUT.002 and so on",
)
@click.option(
    "--sign", "key", metavar="KEY", type=FILE, help="secret key that signs: OUT.minisig is beside"
)
@json_option
def bundle(
    source: Source,
    index: str | None,
    out: Path,
    inputs: Inputs,
    targets: tuple[str, ...],
    no_deps: bool,
    since: str | None,
    volume: str | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Write the files of an index into one archive, with upload times, yanks and project statuses,
    for `pyindex load` on another host. The same content gives the same bytes. With inputs, only
    the files that they need on the targets are written, once it is proven that they install.
    """
    from appliance.bundle.minisign import read_secret
    from appliance.bundle.since import known_digests
    from appliance.bundle.write import write
    from appliance.operations.update import update
    from appliance.operations.watchlock import is_watched

    demands = inputs.read()
    if targets and not demands:
        raise click.UsageError("--target requires an input")
    spec, name = source.load_index(index)
    size = _size(volume) if volume else None
    secret = read_secret(key, _password) if key else None
    with Progress(f"writing {out}"):
        if not is_watched(spec):
            update(spec)
        known = known_digests(spec.state, since) if since else frozenset()
        files = _closure(source, spec, name, demands, targets, no_deps) if demands else None
        written = write(out.absolute(), spec, name, files, known=known, volume=size, key=secret)

    if as_json:
        paths = [str(path) for path in written.paths]
        facts = {"files": written.files, "left_out": written.left_out, "bytes": written.bytes}
        print_json({"index": name, "bundle": written.id, "paths": paths} | facts)
        return
    print(*written.paths, sep="\n")
    left_out = f", {written.left_out} left out" if written.left_out else ""
    print(f"{written.files} files{left_out}, {written.bytes / 1e6:.0f} MB, bundle {written.id}")


def _closure(
    source: Source,
    spec: "Spec",
    index: str,
    demands: "tuple[Demand, ...]",
    targets: tuple[str, ...],
    no_deps: bool,
) -> "list[File]":
    """Return the files that the inputs need. Raises :class:`PyindexError` if some are missing."""
    from appliance.cli.verdicts import missing_lines
    from appliance.mirror.mirror import Job, closure
    from appliance.targets.choice import choose

    with source.naming_spec():
        chosen = choose(targets, spec)
    files, verdicts = closure(Job(spec, index, demands, chosen, no_deps=no_deps))
    if lines := missing_lines(verdicts):
        raise PyindexError("\n".join([*lines, "run `pyindex mirror` for these inputs first"]))
    return files


@click.command("bundle-key", short_help="make a key that signs bundles")
@click.argument("file", metavar="FILE", type=FILE, help="secret key to write")
@json_option
def bundle_key(file: Path, as_json: bool) -> None:
    """Make a key that signs bundles, in minisign's format and without a password: FILE, and the
    public key in FILE.pub. Prints the public key, for `bundles.keys` in the spec of the other side.
    """
    from appliance.bundle.minisign import new_key

    key = new_key(file.absolute())
    if as_json:
        print_json({"id": key.id, "public": key.line, "path": f"{file}.pub"})
    else:
        print(key.line)


def _size(text: str) -> int:
    from appliance.spec.forms import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise click.UsageError(f"--volume: expected {error}, got {text!r}") from None


def _password() -> str:
    password: str = click.prompt("Password of the secret key", hide_input=True, err=True)
    return password
