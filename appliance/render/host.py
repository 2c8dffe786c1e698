"""All files of a host: which ones, where they lie, and whose they are."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.errors import PyindexError
from appliance.render import hostspec, system, templates
from appliance.render.clients import client_layout, client_names, client_values
from appliance.render.layout import HEAD, SETTINGS, USER, layout
from appliance.render.site import site_values
from appliance.render.system import System
from appliance.spec import Spec


@dataclass(frozen=True)
class HostFile:
    """A file on the host.

    Attributes:
        path: Absolute.
        part: What loads it: base (the system), service or nginx.
    """

    path: str
    content: str
    part: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"

    def listed(self) -> dict[str, str]:
        """The file as an entry of a JSON list, with its SHA-256 in place of its content."""
        return {
            "path": self.path,
            "part": self.part,
            "mode": f"{self.mode:04o}",
            "owner": self.owner,
            "group": self.group,
            "sha256": hashlib.sha256(self.content.encode()).hexdigest(),
        }


@dataclass(frozen=True)
class HostValues:
    """Values for templates of a host's files, in addition to those of the site."""

    system: System


# Template, path on the host, part. "{supervisor}" is the system's own path for it.
_ALWAYS = (
    ("nginx/pyindex.conf.j2", "/etc/nginx/conf.d/pyindex.conf", "nginx"),
    ("systemd/nginx.conf.j2", "/etc/systemd/system/nginx.service.d/pyindex.conf", "nginx"),
    ("host/logrotate.j2", "/etc/logrotate.d/pyindex", "base"),
    ("host/tmpfiles.conf.j2", "/etc/tmpfiles.d/pyindex.conf", "base"),
    ("host/environment.j2", f"{SETTINGS}/environment", "service"),
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


def files(spec: Spec) -> list[HostFile]:
    """Every file that the spec's host needs, by path.

    Raises SpecError if the spec says too little for a host, has a value that a syntax cannot
    contain, or names templates that others may write.
    """
    hostspec.check(spec)
    host = system.of(spec)
    clients = client_values(spec, str(spec.url))
    values = (clients, site_values(spec), HostValues(host))
    layouts = {True: client_layout(spec), False: layout(spec)}

    rendered = [
        HostFile(
            path.format(supervisor=host.supervisor),
            templates.render(spec, template, layouts[template.startswith("client/")], *values),
            part,
        )
        for template, path, part in _outputs(spec, host)
    ]
    text = f"# {HEAD}\n{hostspec.normal_form(spec)}"
    spec_file = HostFile(f"{SETTINGS}/pyindex.yml", text, "service", 0o640, group=USER)
    return sorted([*rendered, spec_file], key=lambda file: file.path)


def select(files: Sequence[HostFile], names: Iterable[str]) -> list[HostFile]:
    """The files of ``names``: each is a part or a path.

    Raises PyindexError for a name that is neither.
    """
    selected = set(names)
    parts = sorted({file.part for file in files})
    if unknown := sorted(selected - {*parts, *(file.path for file in files)}):
        known = ", ".join(parts)
        raise PyindexError(
            f"unknown part {unknown[0]!r}: expected {known}, or the path of one file on the host"
        )
    return [file for file in files if selected & {file.part, file.path}]


def _outputs(spec: Spec, host: System) -> list[tuple[str, str, str]]:
    """Template, path and part of each file of this host."""
    outputs = [*_ALWAYS, *(_SYSTEMD if spec.server.manager == "systemd" else _SUPERVISOR)]
    outputs += _FIREWALLD if host.firewalld else ()
    outputs += _SELINUX if host.selinux else ()
    for name in client_names(spec):
        outputs.append((f"client/{name}.j2", f"{SETTINGS}/client/{name}", "nginx"))
    return outputs
