"""The nginx site."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from appliance import headers
from appliance.headers import Headers
from appliance.policy.rights import Rights
from appliance.render import system
from appliance.render.clients import client_values
from appliance.render.layout import ANSWERS, SOCKET, layout
from appliance.render.templates import render
from appliance.spec import Spec
from appliance.spec.addresses import bracketed
from appliance.uploads.form import LARGEST_FIELDS

ANY_URL = "http://_"


@dataclass(frozen=True)
class IndexLocation:
    """An index at one URL path; the first index of a spec has two.

    Attributes:
        path: What stands before ``/simple/`` and ``/packages/`` in URLs.
        packages: Its packages directory.
        stripped: The start of ``path`` that paths below ``www`` lack.
        markers: What stands before ``/packages/`` in the paths of markers.
        index: Its name.
        access: Whether nginx asks the application before it sends something: ``open`` if not,
            ``private`` if the answer is the same for all of the index, or ``by project``.
    """

    path: str
    packages: Path
    stripped: str
    markers: str
    index: str
    access: str


@dataclass(frozen=True)
class StandIn:
    """Another index, for which nginx answers under its host names.

    Attributes:
        names: Of the server, as nginx matches them.
        pages: The index whose pages it sends, the first of the spec.
        files: That index and its bases in resolution order, each by its name.
    """

    names: tuple[str, ...]
    pages: IndexLocation
    files: tuple[IndexLocation, ...]


@dataclass(frozen=True)
class SiteValues:
    """Values for templates of the nginx site and of the files around it.

    Attributes:
        id: Begins all names of variables and zones, which nginx shares between sites.
        listen: Addresses with ports.
        plain: Addresses with ports that redirect to HTTPS.
        port: Of the url.
        names: Of the server, as nginx matches them.
        origin: Scheme, host and port of an https url.
        prefix: Path of the url.
        application: Where the application listens, as ``proxy_pass`` has it.
        mounts: Paths of all indexes below the prefix.
        locations: All indexes at all their paths.
        stand_in: The index of ``nginx.stand_in``, if any.
        restricted: The indexes that not every client may read, each once.
        answers: Directory of the application's answers about rights, in memory.
        largest: ``nginx.max_upload`` in nginx's units.
        on_host: Whether logs and client files have their places.
        security: Headers of every response.
        authority: Host and port of the url, for clients that send none.
        client: The variable of nginx with the address by which clients are counted; empty for none.
        scheme: The variable of nginx with the scheme that a client uses.
        plain_security: Headers of every response over plain HTTP.
    """

    id: str
    listen: tuple[str, ...]
    plain: tuple[str, ...]
    port: int
    names: tuple[str, ...]
    origin: str
    prefix: str
    application: str
    mounts: tuple[str, ...]
    locations: tuple[IndexLocation, ...]
    stand_in: StandIn | None
    restricted: tuple[IndexLocation, ...]
    answers: str
    largest: str
    on_host: bool
    security: Headers
    authority: str = "localhost"
    client: str = "$binary_remote_addr"
    scheme: str = "$scheme"
    plain_security: Headers = headers.SECURITY
    page_headers: Headers = headers.PAGE
    private_page_headers: Headers = headers.PRIVATE_PAGE
    file_headers: Headers = headers.PACKAGE_FILE
    private_file_headers: Headers = headers.PRIVATE_FILE
    client_file_headers: Headers = headers.CLIENT_FILE
    provenance_type: str = headers.PROVENANCE
    form_bytes: int = LARGEST_FIELDS


def nginx(spec: Spec, address: str = "") -> str:
    """The nginx site of the appliance, a file to be included in ``http { }`` (nginx >= 1.18).

    It listens on all addresses unless one is given, at the port of the spec's ``url``. Raises
    SpecError for a path that nginx's configuration cannot contain.
    """
    clients = client_values(spec, spec.url or ANY_URL)
    values = site_values(spec, address)
    return render(spec, "nginx/pyindex.conf.j2", layout(spec), clients, values)


def site_values(spec: Spec, address: str = "") -> SiteValues:
    """The values of :class:`SiteValues` for a spec; it listens on one ``address``, if given."""
    has_tls = spec.nginx.tls is not None
    url = urlsplit(spec.url or ANY_URL)
    port = url.port or (443 if has_tls else 80)
    addresses = [address] if address else spec.nginx.listen

    by_name = tuple(_by_name(spec, spec.path))

    return SiteValues(
        id=f"pyindex_{spec.name.replace('-', '_')[:16]}",  # PCRE takes names of 32
        listen=_listening(addresses, port),
        plain=_listening(addresses, 80) if has_tls and port == 443 else (),
        port=port,
        names=_server_names(_host(url), *spec.nginx.names),
        origin=f"https://{_host(url)}{f':{port}' if port != 443 else ''}",
        prefix=url.path,
        application=_application(spec),
        mounts=("", *(f"/{name}" for name in spec.indexes)),
        locations=(_first(spec, spec.path), *by_name),
        stand_in=_stand_in(spec) if spec.nginx.stand_in else None,
        restricted=tuple(each for each in by_name if each.access != "open"),
        # A relative path lies in the directory that nginx is started with.
        answers="answers" if address else f"{ANSWERS}-{spec.name}",
        largest=_in_units(spec.nginx.max_upload),
        # Tests, which give an address, have no host around the site.
        on_host=spec.host.system is not None and not address,
        security=headers.SECURITY + (headers.TRANSPORT_SECURITY if has_tls else ()),
        authority=url.netloc if spec.url else "localhost",
    )


def _stand_in(spec: Spec) -> StandIn:
    lineage = spec.lineage(spec.root)
    by_name = dict(zip(spec.indexes, _by_name(spec, ""), strict=True))
    return StandIn(
        names=_server_names(*spec.nginx.stand_in),
        pages=_first(spec, ""),
        files=tuple(by_name[name] for name in lineage),
    )


def _first(spec: Spec, at: str) -> IndexLocation:
    """The first index, at the URL path ``at``."""
    packages, access = spec.indexes[spec.root].packages, _access(spec, spec.root)
    return IndexLocation(at, packages, at, f"/{spec.root}", spec.root, access)


def _by_name(spec: Spec, at: str) -> Iterator[IndexLocation]:
    """Each index at its name below the URL path ``at``."""
    for name, index in spec.indexes.items():
        path = f"{at}/{name}"
        stripped = path if name == spec.root else at  # pages of the first index lie at the top
        yield IndexLocation(path, index.packages, stripped, "", name, _access(spec, name))


def _access(spec: Spec, index: str) -> str:
    rights = Rights(spec)
    if rights.is_open(index):
        return "open"
    return "by project" if rights.is_by_project(index) else "private"


def _listening(addresses: Iterable[str], port: int) -> tuple[str, ...]:
    return tuple(f"{bracketed(each)}:{port}" for each in addresses)


def _host(url: SplitResult) -> str:
    return bracketed(str(url.hostname))


def _server_names(*names: str) -> tuple[str, ...]:
    """Each name once. nginx keeps names in a table that has no room for long ones, but patterns
    in a list; the table's size belongs to ``http { }``, which is not ours."""
    once = dict.fromkeys(name.lower() for name in names)
    return tuple(name if len(name) <= 40 else rf"~^{re.escape(name)}\z" for name in once)


def _in_units(size: int) -> str:
    """A size in bytes with nginx's largest whole unit: 2g."""
    for shift, unit in ((30, "g"), (20, "m"), (10, "k")):
        if size % (1 << shift) == 0:
            return f"{size >> shift}{unit}"
    return str(size)


def _application(spec: Spec) -> str:
    """Where nginx reaches the application."""
    if system.uses_socket(spec):
        return f"unix:{SOCKET}"
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not to bind
    host = any_address.get(spec.server.host, spec.server.host)
    return f"{bracketed(host)}:{spec.server.port}"
