"""``pyindex client``: the settings of clients for this index."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.options import FILE, index_options, json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.source import Source, check_index
from appliance.errors import PyindexError, SpecError

if TYPE_CHECKING:
    from appliance.render.clientfiles import ClientFile, Written
    from appliance.spec import Spec

_url_option = click.option(
    "--url",
    help="URL of the appliance for clients (default: from the spec); no spec is needed then",
)


@click.group(short_help="print or write the settings of pip, uv, Poetry, PDM or conda")
def client() -> None:
    """Print the settings with which a client installs from this index, or write them where the
    client reads them.
    """


def _command(tool: str, name: str, where: str) -> None:
    """Add the command for a tool, which reads its settings ``where``."""

    @client.command(tool, short_help=f"settings of {name}")
    @index_options
    @_url_option
    @click.option(
        "--ca",
        metavar="FILE",
        type=FILE,
        help="certificate of the private CA on this machine (default with --write: from the spec)",
    )
    @click.option("--write", is_flag=True, help=f"write them to {where}")
    @click.option(
        "--force", is_flag=True, help="replace a file of other content, and keep it as FILE.bak"
    )
    @json_option
    def command(
        source: Source,
        index: str | None,
        url: str | None,
        ca: Path | None,
        write: bool,
        force: bool,
        as_json: bool,
    ) -> None:
        from appliance.render import clientfiles

        spec, url = _load(source, url, index)
        file = clientfiles.client_file(spec, tool, url, _ca(spec, ca, write))
        written = clientfiles.write(file, force) if write else None
        _print(file, written, as_json)

    command.help = f"Print the settings of {name}, or write them to {where}."


for _tool, _name, _where in (
    ("pip", "pip", "~/.config/pip/pip.conf"),
    ("uv", "uv", "~/.config/uv/uv.toml"),
    ("poetry", "Poetry", "the pyproject.toml of the current directory"),
    ("pdm", "PDM", "~/.config/pdm/config.toml"),
    ("conda", "conda", "environment.yml in the current directory"),
):
    _command(_tool, _name, _where)


@client.command(short_help="lines for /etc/hosts, for names that nginx stands in for")
@source_options
@click.option("--address", metavar="IP", help="IP address of the appliance")
@json_option
def hosts(source: Source, address: str | None, as_json: bool) -> None:
    """Print lines for /etc/hosts or a DNS server: the host names of another index, which the
    appliance answers for (`nginx.stand_in`).
    """
    from appliance.render.clients import hosts as render_hosts

    spec = source.read()
    if not spec.nginx.stand_in:
        raise SpecError(["nginx.stand_in: missing; list the host names to answer for"])
    content = render_hosts(spec, str(spec.url), _checked(address))
    if as_json:
        names = list(spec.nginx.stand_in)
        print_json({"address": address, "names": names, "content": content})
    else:
        print(content, end="")


def _load(source: Source, url: str | None, index: str | None) -> "tuple[Spec, str]":
    """Return the spec, and the URL below which clients find ``simple/``."""
    from appliance.render.clients import of_one_index
    from appliance.spec import with_url

    spec = source.read() if source.is_named or url is None else _spec_of_other_host()
    spec = with_url(spec, url) if url else spec
    if spec.url is None:
        raise SpecError(["url: missing in the spec; pass --url URL"])
    if index is None:
        return spec, spec.url
    check_index(spec, index)
    return of_one_index(spec, index), f"{spec.url}/{index}"


def _spec_of_other_host() -> "Spec":
    """Return a spec for clients of an appliance whose spec is elsewhere."""
    from appliance.spec import IndexSection, Spec

    nowhere = Path("/nonexistent")
    return Spec(state=nowhere, indexes={"main": IndexSection(packages=nowhere)})


def _ca(spec: "Spec", ca: Path | None, write: bool) -> Path | None:
    """Return the absolute path of the certificate to name in the settings, if there is one."""
    if ca is not None:
        from appliance.spec.forms import absolute

        try:
            ca = absolute(str(ca), Path())
        except ValueError as error:
            raise PyindexError(f"--ca: expected {error}") from None
        if not ca.is_file():
            raise PyindexError(f"{ca}: no such file; save the certificate of the CA there")
        return ca

    tls = spec.nginx.tls
    return tls.ca if write and tls and tls.ca and tls.ca.is_file() else None


def _checked(address: str | None) -> str | None:
    import ipaddress

    if address is None:
        return None
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        text = f"--address: expected an IP address, got {address!r}"
        raise PyindexError(text) from None


def _print(file: "ClientFile", written: "Written | None", as_json: bool) -> None:
    if as_json:
        facts = {"tool": file.tool, "path": str(file.path), "content": file.content}
        backup = str(written.backup) if written and written.backup else None
        changed = written is not None and written.is_changed
        print_json(facts | {"variables": file.variables, "changed": changed, "backup": backup})
        return
    if written is None:
        print(file.content, end="")
        return

    print(f"{file.path}: {'written' if written.is_changed else 'unchanged'}")
    if written.backup:
        print(f"{written.backup}: content from before")
    for name, value in file.variables.items():
        print(f"also set in the environment: export {name}={shlex.quote(value)}")
