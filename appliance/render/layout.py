"""Where pyindex lies on a host and as whom it runs, for all templates."""

from dataclasses import dataclass
from pathlib import Path

from appliance.render import system
from appliance.spec import Spec

RELEASE = "/opt/pyindex/current"
SETTINGS = "/etc/pyindex"
ANSWERS = "/run/nginx"  # SELinux knows all paths that begin so as nginx's
SOCKET = "/run/pyindex/pyindex.sock"
LOGS = "/var/log/pyindex"
USER = "pyindex"
# The same for every spec: an edit changes no file but those that it means, and no program reloads
# for the others.
HEAD = "Rendered by pyindex from the spec; do not edit."


@dataclass(frozen=True)
class LayoutValues:
    """Values for every template.

    Attributes:
        head: The first line of a file, without the comment sign.
        release: Directory of the release that runs.
        settings: Directory of spec, environment and client files.
        logs: Directory of nginx's logs.
        user: Runs the services.
        socket: Unix socket of the application; ``None`` where nginx connects to a port.
        prunable: Packages directories of which `gc` removes releases.
        writable: Packages directories that take uploads; a list, as templates append it to one.
    """

    spec: Spec
    head: str
    release: str
    settings: str
    logs: str
    user: str
    socket: str | None
    prunable: list[Path]
    writable: list[Path]


def layout(spec: Spec) -> LayoutValues:
    """The values of :class:`LayoutValues` for a spec."""
    return LayoutValues(
        spec=spec,
        head=HEAD,
        release=RELEASE,
        settings=SETTINGS,
        logs=LOGS,
        user=USER,
        socket=SOCKET if system.uses_socket(spec) else None,
        prunable=[index.packages for index in spec.indexes.values() if index.keep.is_set],
        writable=[index.packages for index in spec.indexes.values() if index.accepts_uploads],
    )
