"""``pyindex certificates renew|extend|timer``: the private CA of the control machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from appliance.cli.options import DIRECTORY, FILE, Number, json_option, spec_option
from appliance.cli.output import print_json
from appliance.cli.source import find_spec
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from appliance.pack.authority import Signed
    from appliance.spec import Spec

_directory_argument = click.argument(
    "directory", metavar="DIR", type=DIRECTORY, help="directory of the CA, for this user alone"
)


@click.group(short_help="make and renew certificates by a private CA")
def certificates() -> None:
    """Make and renew the certificates of hosts by a private CA, on the control machine. The play
    runs `renew`, and copies what is new to the hosts.
    """


@certificates.command(short_help="make or renew the certificate of a host, and the CA")
@_directory_argument
@spec_option
@click.option(
    "--name",
    "more",
    metavar="NAME",
    multiple=True,
    help="another host name or address for the certificate; may be repeated",
)
@click.option(
    "--permit",
    "permitted",
    metavar="NAME",
    multiple=True,
    help="another host name or domain that a new CA may sign for; may be repeated",
)
@click.option(
    "--days",
    metavar="N",
    type=Number(1, 799),
    default=60,
    help="renew a certificate with fewer days left (default: 60)",
)
@json_option
def renew(
    directory: Path,
    spec: Path | None,
    more: tuple[str, ...],
    permitted: tuple[str, ...],
    days: int,
    as_json: bool,
) -> None:
    """Make or renew DIR/HOST.pem with DIR/HOST.key for the host names of a spec, if it is missing
    or due. Without DIR/ca.pem and DIR/ca.key, makes a CA that can sign for these names only.
    """
    from appliance.pack.authority import renew
    from appliance.spec import load

    path = find_spec(spec)
    names = [*_names(load(path), path), *more]
    _print(renew(directory.absolute(), names, permitted, days), as_json)


@certificates.command(short_help="let a CA expire ten years from now")
@_directory_argument
@json_option
def extend(directory: Path, as_json: bool) -> None:
    """Sign DIR/ca.pem again with its key, for another ten years. Clients that have the previous
    ca.pem accept the hosts until that expires; give them the new one before.
    """
    from appliance.pack.authority import extend

    _print((extend(directory.absolute()),), as_json)


@certificates.command(short_help="write systemd units that renew certificates once a day")
@click.argument("inventory", metavar="INVENTORY", type=FILE, help="inventory of the play")
@click.option(
    "--playbook",
    metavar="FILE",
    type=FILE,
    default=Path("site.yml"),
    help="playbook to run (default: site.yml)",
)
@click.option(
    "--out",
    metavar="DIR",
    type=DIRECTORY,
    help="directory of the units (default: ~/.config/systemd/user, for root /etc/systemd/system)",
)
def timer(inventory: Path, playbook: Path, out: Path | None) -> None:
    """Write a systemd service that runs the play with `--tags certificates`, with the ansible and
    the pyindex that run now, and a timer that starts it once a day; print how to enable them.
    """
    from appliance.atomic import Batch
    from appliance.render.control import units

    is_root = os.geteuid() == 0
    home = Path("~/.config/systemd/user").expanduser()
    directory = (out or (Path("/etc/systemd/system") if is_root else home)).absolute()
    written = units(inventory, playbook)
    with Batch() as batch:
        for name, text in written.items():
            batch.write(directory / name, text.encode())
    manager = "systemctl" if is_root else "systemctl --user"
    print(*(f"{directory / name}: written" for name in written), "Next:", sep="\n")
    print(f"  {manager} daemon-reload")
    print(f"  {manager} enable --now pyindex-certificates.timer")
    if not is_root:
        print("  loginctl enable-linger    # run it when you are not logged in, too")
    print(f"  {manager} start pyindex-certificates.service    # try it: no password may be asked")


def _names(spec: "Spec", path: Path) -> list[str]:
    """Return all host names at which nginx serves HTTPS, that of the url first."""
    if spec.url is None:
        raise PyindexError(f"{path}: url: missing; a certificate is for its host name")
    return [str(urlsplit(spec.url).hostname), *spec.nginx.names, *spec.nginx.stand_in]


def _print(results: "tuple[Signed, ...]", as_json: bool) -> None:
    if as_json:
        files = [
            {"path": str(each.path), "made": each.is_new, "expires": each.expires.isoformat()}
            for each in results
        ]
        print_json({"changed": any(each.is_new for each in results), "certificates": files})
        return
    for each in results:
        verb = "made" if each.is_new else "unchanged"
        print(f"{each.path}: {verb}; expires on {each.expires:%Y-%m-%d}")
