"""``pyindex bundle`` and ``pyindex bundle-key``: an archive of files of an index for another, and a
medium that sets up that other index."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.demands import Inputs, input_options
from appliance.cli.options import FILE, index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.packing import Packing, pack_options
from appliance.cli.progress import Progress
from appliance.cli.source import Source, find_spec, naming_spec
from appliance.errors import PyindexError
from appliance.text import counted

if TYPE_CHECKING:
    from appliance.bundle.minisign import SecretKey
    from appliance.index.model import File
    from appliance.inputs.demand import Demand
    from appliance.pack import Stick
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
@click.option(
    "--with-appliance",
    is_flag=True,
    help="also write into OUT's directory what sets up the host: the script `install`, and"
    " `appliance` with a pack, the playbook and ansible",
)
@click.option(
    "--host-spec",
    metavar="SPEC",
    type=FILE,
    help="the spec of that host (default: the spec of the index)",
)
@pack_options
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
    with_appliance: bool,
    host_spec: Path | None,
    packing: Packing,
    as_json: bool,
) -> None:
    """Write the files of an index into one archive, with upload times, yanks and project statuses,
    for `pyindex load` on another host. The same content gives the same bytes. With inputs, only
    the files that they need on the targets are written, once it is proven that they install.
    With `--with-appliance` the script `install` beside it turns a bare host into the index.
    """
    from appliance.bundle.minisign import read_secret
    from appliance.bundle.since import known_digests
    from appliance.bundle.write import write
    from appliance.operations.update import update
    from appliance.operations.watchlock import is_watched

    demands = inputs.read()
    if targets and not demands:
        raise click.UsageError("--target requires an input")
    if not with_appliance and (host_spec is not None or packing != Packing()):
        raise click.UsageError("the options of the host require --with-appliance")
    size = _size(volume) if volume else None
    secret = read_secret(key, _password) if key else None
    host = _Host(source, host_spec, packing, out.absolute().parent, secret)
    if with_appliance:
        host.check()
    spec, name = source.load_index(index)
    with Progress(f"writing {out}"):
        if not is_watched(spec):
            update(spec)
        known = known_digests(spec.state, since) if since else frozenset()
        if demands:
            inputs.print_notes()
        files = _closure(source, spec, name, demands, targets, no_deps) if demands else None
        written = write(out.absolute(), spec, name, files, known=known, volume=size, key=secret)
    stick = host.write() if with_appliance else None

    if as_json:
        paths = [str(path) for path in written.paths]
        facts = {"files": written.files, "left_out": written.left_out, "bytes": written.bytes}
        appliance = {} if stick is None else {"appliance": _facts(stick)}
        print_json({"index": name, "bundle": written.id, "paths": paths} | facts | appliance)
        return
    print(*written.paths, sep="\n")
    left_out = f", {written.left_out} left out" if written.left_out else ""
    number = f"{counted(written.files, 'file')}{left_out}"
    print(f"{number}, {written.bytes / 1e6:.0f} MB, bundle {written.id}")
    if stick:
        print(stick.script)
        number = counted(stick.files, "file")
        print(f"{number}, {stick.bytes / 1e6:.0f} MB, release {stick.pack.release}")


@dataclass(frozen=True, slots=True)
class _Host:
    """The host that the medium sets up."""

    source: Source
    path: Path | None
    packing: Packing
    directory: Path
    key: "SecretKey | None"

    def check(self) -> None:
        """Raise :class:`PyindexError` if no medium can be written for it."""
        from appliance.pack import check_stick

        with self._spec() as spec:
            packing = self.packing
            check_stick(self.directory, spec, packing.python, packing.packages, self.key)

    def write(self) -> "Stick":
        from appliance.pack import write_stick

        packing, title = self.packing, f"writing {self.directory / 'appliance'}"
        with self._spec() as spec, Progress(title, line_seconds=5.0) as progress:
            return write_stick(
                self.directory,
                spec,
                packing.python,
                packing.packages,
                packing.upgrade,
                self.key,
                progress,
            )

    @contextlib.contextmanager
    def _spec(self) -> "Iterator[Spec]":
        from appliance.spec import load

        if self.path is None and self.source.directory is not None:
            raise click.UsageError(
                "--with-appliance requires the spec of the host; pass --host-spec SPEC"
            )
        path = self.path or find_spec(self.source.spec)
        spec = self.packing.applied(load(path))
        with naming_spec(path):
            yield spec


def _facts(stick: "Stick") -> dict[str, object]:
    return {
        "script": str(stick.script),
        "release": stick.pack.release,
        "files": stick.files,
        "bytes": stick.bytes,
    }


def _closure(
    source: Source,
    spec: "Spec",
    index: str,
    demands: "tuple[Demand, ...]",
    targets: tuple[str, ...],
    no_deps: bool,
) -> "list[File]":
    """Return the files of the index that the inputs need, and say which its bases have. Raises
    :class:`PyindexError` if some are missing."""
    from appliance.cli.verdicts import missing_lines
    from appliance.mirror.mirror import Job, closure
    from appliance.targets.choice import choose

    with source.naming_spec():
        chosen = choose(targets, spec)
    files, verdicts = closure(Job(spec, index, demands, chosen, no_deps=no_deps))
    if lines := missing_lines(verdicts):
        raise PyindexError("\n".join([*lines, "run `pyindex mirror` for these inputs first"]))
    own = files.pop(index, [])
    for base, others in files.items():
        what = f"{base} supplies {counted(len(others), 'file')}, such as {others[0].filename}"
        print(f"note: {what}: bundle the index {base} with these inputs, too", file=sys.stderr)
    return own


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
