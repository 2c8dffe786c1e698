"""``pyindex appliance pack|check``: the pack, which ansible copies to a host."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.options import DIRECTORY, json_option, spec_options
from appliance.cli.output import print_json
from appliance.cli.packing import Packing, pack_options
from appliance.cli.progress import Progress
from appliance.text import counted

if TYPE_CHECKING:
    from appliance.pack import Pack


@click.group(short_help="build or check the pack for a host")
def appliance() -> None:
    """Prepare the installation of a host."""


@appliance.command(short_help="build the pack for a host without a network")
@spec_options
@click.option(
    "--out", metavar="DIR", type=DIRECTORY, required=True, help="pack to build, or to update"
)
@pack_options
@json_option
def pack(
    path: Path,
    out: Path,
    packing: Packing,
    as_json: bool,
) -> None:
    """Build the pack, a directory that ansible copies to a host: wheels of pyindex and its
    dependencies for the host's Python and glibc 2.17, a pip to install them, for CentOS 7 a Python,
    and OS packages if the spec or an option says where they are. What it packs is verified. The
    same inputs keep an existing pack and its versions.
    """
    from appliance.pack import build_pack
    from appliance.spec import load

    with Progress(f"building {out}", line_seconds=5.0) as progress:
        spec = packing.applied(load(path))
        python, packages = packing.python, packing.packages
        pack = build_pack(spec, out.absolute(), python, packages, packing.upgrade, progress)
    _print(out, pack, "built" if pack.changed else "unchanged", as_json)


@appliance.command(short_help="compare a pack with its manifest")
@click.argument("pack", metavar="DIR", type=DIRECTORY, help="directory that `pack` built")
@json_option
def check(pack: Path, as_json: bool) -> None:
    """Compare each file of a pack with its manifest. Exits with 1 if a file was changed, is missing
    or was added.
    """
    from appliance.pack import check_pack

    _print(pack, check_pack(pack.absolute()), "OK", as_json)


def _print(directory: Path, pack: "Pack", result: str, as_json: bool) -> None:
    if as_json:
        facts = {"release": pack.release, "files": pack.files, "changed": pack.changed}
        print_json({"directory": str(directory)} | facts)
    else:
        files = counted(pack.files, "file")
        print(f"{directory}: {result}, release {pack.release}, {files}")
