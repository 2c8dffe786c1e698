"""The spec to deployment files, as values. Pure: the same spec gives the same bytes.

Nothing else turns the spec into files; ansible places what was rendered here.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import yaml
from jinja2.sandbox import SandboxedEnvironment

from appliance.errors import SpecError
from appliance.render import escapes, system
from appliance.spec import Spec
from appliance.spec.document import escaped
from appliance.spec.forms import bracketed

RELEASE = "/opt/pyindex/current"
SETTINGS = "/etc/pyindex"
SOCKET = "/run/pyindex/pyindex.sock"
LOGS = "/var/log/pyindex"
USER = "pyindex"
CLIENT = ("pip.conf", "uv.toml", "poetry.toml", "environment.yml")


@dataclass(frozen=True)
class File:
    """A file on the host: ``path`` is absolute, ``part`` says whose it is (a role of ansible)."""

    path: str
    content: str
    part: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


# Template, path on the host, part. "{supervisor}" is what the system calls the place.
_ALWAYS = (
    ("nginx/pyindex.conf.j2", "/etc/nginx/conf.d/pyindex.conf", "nginx"),
    ("systemd/nginx.conf.j2", "/etc/systemd/system/nginx.service.d/pyindex.conf", "nginx"),
    ("host/logrotate.j2", "/etc/logrotate.d/pyindex", "base"),
    ("host/tmpfiles.conf.j2", "/etc/tmpfiles.d/pyindex.conf", "base"),
    ("host/environment.j2", f"{SETTINGS}/environment", "service"),
    ("client/pip.conf.j2", f"{SETTINGS}/client/pip.conf", "nginx"),
    ("client/uv.toml.j2", f"{SETTINGS}/client/uv.toml", "nginx"),
    ("client/poetry.toml.j2", f"{SETTINGS}/client/poetry.toml", "nginx"),
    ("client/environment.yml.j2", f"{SETTINGS}/client/environment.yml", "nginx"),
)
_SYSTEMD = tuple(
    (f"systemd/{unit}.j2", f"/etc/systemd/system/{unit}", "service")
    for unit in (
        "pyindex.service",
        "pyindex.socket",
        "pyindex-watch.service",
        "pyindex-backup.service",
        "pyindex-backup.timer",
    )
)
_SUPERVISOR = (
    ("supervisor/pyindex.conf.j2", "{supervisor}", "service"),
    ("supervisor/pyindex.cron.j2", "/etc/cron.d/pyindex", "service"),
)
_FIREWALLD = (("host/firewalld.xml.j2", "/etc/firewalld/services/pyindex.xml", "base"),)
_SELINUX = (("host/selinux.json.j2", f"{SETTINGS}/selinux.json", "base"),)


def without_ipv6(spec: Spec) -> Spec:
    """The spec for a host that has no IPv6. Raises SpecError if it wants some all the same."""
    listening, problems = spec.nginx.listen, []
    if "listen" not in spec.nginx.model_fields_set:
        listening = tuple(each for each in listening if ":" not in each)
    elif six := [each for each in listening if ":" in each]:
        problems.append(f"nginx.listen: this host has no IPv6; leave {', '.join(six)} out")
    if ":" in spec.server.host and not system.uses_socket(spec):
        problems.append(f"server.host: this host has no IPv6, got {spec.server.host}")
    if problems:
        raise SpecError(problems)
    nginx = spec.nginx.model_copy(update={"listen": listening})
    return spec.model_copy(update={"nginx": nginx})


def files(spec: Spec) -> list[File]:
    """Every file that the spec's host needs, by path.

    Raises SpecError if the spec says too little for a host, what a syntax cannot carry, or names
    templates that others may write.
    """
    _check(spec)
    host = system.of(spec)
    outputs = [*_ALWAYS, *(_SYSTEMD if spec.server.manager == "systemd" else _SUPERVISOR)]
    outputs += _FIREWALLD if host.firewalld else ()
    outputs += _SELINUX if host.selinux else ()
    context = {"system": host, **_context(spec), **_site(spec)}
    found = [
        File(
            path.format(supervisor=host.supervisor),
            _rendered(spec, template, context),
            part,
        )
        for template, path, part in outputs
    ]
    text = f"# {_head(spec)}\n{normal_form(spec)}"
    found.append(File(f"{SETTINGS}/pyindex.yml", text, "service", 0o640, group=USER))
    return sorted(found, key=lambda file: file.path)


def nginx(spec: Spec, address: str = "") -> str:
    """The nginx site of the appliance, a file to be included in ``http { }`` (nginx >= 1.18).

    It listens on all addresses unless one is given, at the port of the spec's ``url``. Raises
    SpecError for a path that nginx cannot be told.
    """
    context = {**_context(spec), **_site(spec, address)}
    return _rendered(spec, "nginx/pyindex.conf.j2", context)


def client(spec: Spec, name: str, url: str) -> str:
    """One of ``CLIENT``, for clients that reach the appliance at ``url``."""
    return _rendered(spec, f"client/{name}.j2", {**_context(spec), **_client(spec, url)})


def normal_form(spec: Spec) -> str:
    """The spec as YAML with every value said, for the host; templates stay behind. It is a spec:
    one that is read from it is equal."""
    data = spec.model_dump(mode="json", exclude_none=True)
    data["host"].pop("templates", None)
    return yaml.safe_dump(escaped(data), sort_keys=False, allow_unicode=True)


def digest(spec: Spec) -> str:
    """The SHA-256 of the spec's normal form, in hex."""
    return hashlib.sha256(normal_form(spec).encode()).hexdigest()


def _check(spec: Spec) -> None:
    """What a host needs that an index alone does not."""
    problems = []
    if spec.url is None:
        problems.append("url: missing; a host needs the address that clients type")
    elif spec.url.startswith("https:") and spec.nginx.tls is None:
        problems.append("nginx.tls: missing; the url is https, so say certificate and key")
    elif spec.url.startswith("http:") and spec.nginx.tls is not None:
        problems.append("url: http, but nginx.tls is there; wanted https")
    for key, path in _directories(spec):
        temporary = path.is_relative_to("/tmp") or path.is_relative_to("/var/tmp")  # noqa: S108
        if temporary and spec.server.manager == "systemd":
            problems.append(f"{key}: {path}: the services do not see what is there; say another")
    for key, path in (*_directories(spec), *_certificates(spec)):
        if re.search("{[{%#]", str(path)):  # which would mean something else in its variables
            problems.append(f"{key}: {path}: ansible cannot be told a path with {{{{, {{% or {{#")
    if problems:
        raise SpecError(problems)


def _directories(spec: Spec) -> Iterator[tuple[str, Path]]:
    """Directories that the services work in, by their keys."""
    yield "state", spec.state
    yield "backup.directory", spec.backup.directory
    for name, index in spec.indexes.items():
        yield f"indexes.{name}.packages", index.packages


def _certificates(spec: Spec) -> Iterator[tuple[str, Path]]:
    """Files of TLS, by their keys."""
    for name in ("certificate", "key", "ca") if spec.nginx.tls else ():
        if path := getattr(spec.nginx.tls, name):
            yield f"nginx.tls.{name}", path


def _head(spec: Spec) -> str:
    return f"Rendered by pyindex from the spec with digest {digest(spec)[:16]}; do not edit."


def _context(spec: Spec) -> dict[str, Any]:
    """What every template may use."""
    return {
        "spec": spec,
        "head": _head(spec),
        "release": RELEASE,
        "settings": SETTINGS,
        "logs": LOGS,
        "user": USER,
        "socket": SOCKET if system.uses_socket(spec) else None,
        "writable": [index.packages for index in spec.indexes.values() if index.upload],
    }


def _site(spec: Spec, address: str = "") -> dict[str, Any]:
    """What the nginx site and the files around it need beside that."""
    url = urlsplit(spec.url or "http://_")
    port = url.port or (443 if spec.nginx.tls else 80)
    host, app_port = spec.server.host, spec.server.port
    application = f"unix:{SOCKET}" if system.uses_socket(spec) else _reachable(host, app_port)
    known = bracketed(str(url.hostname))
    addresses = [address] if address else spec.nginx.listen
    redirects = spec.nginx.tls is not None and port == 443
    return {
        **_client(spec, spec.url or "http://_"),
        "id": f"pyindex_{spec.name.replace('-', '_')[:16]}",  # PCRE takes names of 32
        "listen": _listening(addresses, port),
        "plain": _listening(addresses, 80) if redirects else [],
        "port": port,
        "names": _server_names(known, *spec.nginx.names),
        "origin": f"https://{known}{f':{port}' if port != 443 else ''}",
        "prefix": url.path,
        "application": application,
        "mounts": ["", *(f"/{name}" for name in spec.indexes)],
        "largest": _in_units(spec.nginx.max_upload),
        # In the tests, which give an address, there is no host around it.
        "on_host": spec.host.system is not None and not address,
    }


def _client(spec: Spec, url: str) -> dict[str, Any]:
    """What the files for clients need beside that; ``url`` is the address that they ask."""
    return {
        "url": url,
        "host": urlsplit(url).hostname or "",
        "secure": url.startswith("https:"),
        "private_ca": spec.nginx.tls is not None and spec.nginx.tls.ca is not None,
    }


def _listening(addresses: Iterable[str], port: int) -> list[str]:
    """Where nginx listens, in its words."""
    return [f"{bracketed(each)}:{port}" for each in addresses]


def _server_names(*names: str) -> list[str]:
    """Each name once. nginx keeps names in a table that has no room for long ones, but patterns
    in a list; the table's size is not ours to set."""
    once = dict.fromkeys(name.lower() for name in names)
    return [name if len(name) <= 40 else rf"~^{re.escape(name)}\z" for name in once]


def _in_units(size: int) -> str:
    """A size as people write it: 2g."""
    for shift, unit in ((30, "g"), (20, "m"), (10, "k")):
        if size % (1 << shift) == 0:
            return f"{size >> shift}{unit}"
    return str(size)


def _reachable(host: str, port: int) -> str:
    """Where a server is found that listens on ``host``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # not to bind
    return f"{bracketed(host)}:{port}"


def _rendered(spec: Spec, template: str, context: dict[str, Any]) -> str:
    """Raises SpecError for what is wrong with a template of the operator's."""
    own = spec.host.templates
    real = Path(os.path.realpath(own)) if own else None
    if real:
        _check_templates(real)
    try:
        return _environment(real).get_template(template).render(context)
    except jinja2.TemplateError as error:
        if own is None:
            raise
        raise SpecError([f"host.templates: {template}: {error}"]) from None


def _check_templates(real: Path) -> None:
    """Templates are programs of a kind: raises SpecError if they, or what they lie in, may be
    written by others than root and the caller."""
    problems = []
    for path in (*reversed(real.parents), real, *sorted(real.rglob("*"))):
        try:
            found = path.stat()  # where a link leads
        except OSError as error:
            problems.append(f"host.templates: {path}: {error.strerror}")
            break
        if path.is_symlink():
            problems.append(f"host.templates: {path}: is a link; put the template itself there")
        # Nobody removes what is another's from a directory with the sticky bit.
        shared = found.st_mode & 0o022 and not (
            found.st_mode & stat.S_ISVTX and path in real.parents
        )
        if shared or found.st_uid not in (0, os.geteuid()):
            why = "others may write to it" if shared else f"it is of uid {found.st_uid}"
            problems.append(
                f"host.templates: {path}: {why}; make it yours or root's, and chmod go-w"
            )
    if problems:
        raise SpecError(problems)


@cache
def _environment(templates: Path | None = None) -> jinja2.Environment:
    ours = jinja2.PackageLoader("appliance.deploy", ".")
    loaders = [jinja2.FileSystemLoader(templates), ours] if templates else [ours]
    environment = SandboxedEnvironment(  # each output has its own filter instead
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["nginx"] = escapes.nginx
    environment.filters["selinux"] = escapes.selinux
    environment.filters["json"] = json.dumps
    environment.filters["systemd"] = escapes.systemd
    environment.filters["systemd_path"] = escapes.systemd_path
    environment.filters["systemd_listen"] = escapes.systemd_listen
    environment.filters["supervisor"] = escapes.supervisor
    return environment
