"""All that is examined of this machine, in the order in which things go wrong."""

import platform
import re
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename

from appliance.doctor import settings, witness
from appliance.doctor.finding import Finding, problem, warning
from appliance.doctor.road import Road
from appliance.upstream import pipconfig

_PROJECTS = 50
_LARGEST_WHEEL = 1 << 22


def examine(index: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what was found about this machine and ``index``, the URL of a simple API with a slash
    at its end.

    Raises :class:`PyindexError` for a configuration file that a client could not read either.
    """
    clients = witness.clients()
    if "pip" in clients:
        yield from settings.of_pip(index, environment)
    if "uv" in clients:
        yield from settings.of_uv(index, environment)
    yield from settings.of_proxies(index)

    configured = pipconfig.read(environment)
    variables = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    named = (configured.get("cert"), *map(environment.get, variables))
    ca = next(filter(None, named), None)
    try:
        road = Road(index, ca)
    except OSError as error:
        yield problem("TLS", f"{ca}: {error.strerror}; name the file of the CA's certificate")
        return
    findings = list(road.examine())
    yield from findings
    if not any(each.subject == "index" and each.level == "ok" for each in findings):
        return

    requirement = _small_wheel(road)
    if requirement is None:
        yield warning(
            "clients", f"not tried: no small pure wheel in the first {_PROJECTS} projects"
        )
        return
    yield from witness.install(index, requirement, clients)


def _small_wheel(road: Road) -> str | None:
    """A requirement of one small wheel that this Python installs, if the index has one."""
    try:
        for project in road.read()["projects"][:_PROJECTS]:
            for file in reversed(road.read(f"{project['name']}/")["files"]):
                if _is_small(file):
                    return _requirement(file["filename"])
    except (OSError, HTTPException, ValueError, KeyError):
        return None
    return None


def _is_small(file: Mapping[str, Any]) -> bool:
    """Whether a file of a page is a small pure wheel for this Python."""
    python = SpecifierSet(file.get("requires-python") or "")
    return (
        re.search(r"-(py2\.)?py3-none-any\.whl\Z", file["filename"]) is not None
        and not file.get("yanked")
        and file.get("size", _LARGEST_WHEEL) < _LARGEST_WHEEL
        and platform.python_version() in python
    )


def _requirement(filename: str) -> str:
    name, version, *_ = parse_wheel_filename(filename)
    return f"{name}=={version}"
