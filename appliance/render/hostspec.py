"""The spec as a host gets it: checked for what a host needs, and in its normal form."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from appliance.errors import SpecError
from appliance.render import system
from appliance.spec import Spec
from appliance.spec.document import escaped


def check(spec: Spec) -> None:
    """Raises SpecError with all that a host needs beyond an index and the spec does not say."""
    problems = [*_url_problems(spec), *_path_problems(spec)]
    if problems:
        raise SpecError(problems)


def without_ipv6(spec: Spec) -> Spec:
    """The spec for a host without IPv6. Raises SpecError if the spec asks for IPv6 addresses."""
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


def normal_form(spec: Spec, templates: str | None = None) -> str:
    """The spec as YAML for the host: every value written out, but what only the control machine
    reads: ``host.repositories``, and ``host.templates`` only as given.

    To load it gives an equal spec.
    """
    data = spec.model_dump(mode="json", exclude_none=True)
    for name in ("templates", "repositories"):
        data["host"].pop(name, None)
    if templates:
        data["host"]["templates"] = templates
    return yaml.safe_dump(escaped(data), sort_keys=False, allow_unicode=True)


def _url_problems(spec: Spec) -> Iterator[str]:
    if spec.url is None:
        yield "url: missing; a host needs the address that clients type"
    elif spec.url.startswith("https:") and spec.nginx.tls is None:
        yield "nginx.tls: missing; an https url needs certificate and key"
    elif spec.url.startswith("http:") and spec.nginx.tls is not None:
        yield "url: expected https, as nginx.tls is set; got http"


def _path_problems(spec: Spec) -> Iterator[str]:
    for key, path in _directories(spec):
        temporary = path.is_relative_to("/tmp") or path.is_relative_to("/var/tmp")  # noqa: S108
        if temporary and spec.server.manager == "systemd":
            yield f"{key}: {path}: services have a private /tmp and /var/tmp; use another directory"
    for key, path in (*_directories(spec), *_certificates(spec)):
        if re.search("{[{%#]", str(path)):  # Ansible would evaluate it
            yield f"{key}: {path}: must not contain {{{{, {{% or {{#, which Ansible evaluates"


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
