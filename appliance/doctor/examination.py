"""All that is examined of this machine, in the order in which things go wrong."""

import platform
from collections.abc import Iterator, Mapping
from itertools import islice

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from appliance.doctor import settings, witness
from appliance.doctor.finding import Finding, problem, warning
from appliance.doctor.road import Road
from appliance.index.names import is_name, normalize
from appliance.upstream import pipconfig
from appliance.upstream.failures import UpstreamError
from appliance.upstream.model import RemoteFile

_PROJECTS = 50
_LARGEST_WHEEL = 1 << 22
_PURE = Tag("py3", "none", "any")


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

    configured = pipconfig.read(environment, pipconfig.INSTALL)
    variables = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    named = (configured.get("cert"), *map(environment.get, variables))
    ca = next(filter(None, named), None)
    try:
        road = Road(index, ca)
    except OSError as error:
        yield problem("TLS", f"{ca}: {error.strerror}; name the file of the CA's certificate")
        return
    yield from road.examine()
    if road.names is None:
        return

    try:
        requirement = _small_wheel(road)
    except UpstreamError as error:
        yield problem("index", str(error))
        return
    if requirement is None:
        yield warning(
            "clients", f"not tried: no small pure wheel in the first {_PROJECTS} projects"
        )
        return
    yield from witness.install(index, requirement, clients, settings.without_index(environment))


def _small_wheel(road: Road) -> str | None:
    """A requirement of one small wheel that this Python installs, if the index has one.

    Raises :class:`UpstreamError` for a page that no client reads.
    """
    names = (normalize(name) for name in road.names or () if is_name(name))
    for name in islice(names, _PROJECTS):
        project = road.project(name)
        for file in reversed(project.files if project else ()):
            if version := _small_version(name, file):
                return f"{name}=={version}"
    return None


def _small_version(name: str, file: RemoteFile) -> Version | None:
    """The version of a file, if it is a small pure wheel of ``name`` for this Python."""
    try:
        distribution, version, _, tags = parse_wheel_filename(file.filename)
        python = SpecifierSet(file.requires_python or "")
    except ValueError:
        return None
    is_small = (
        distribution == name
        and _PURE in tags
        and file.yanked is None
        and (file.size or 0) < _LARGEST_WHEEL
        and platform.python_version() in python
    )
    return version if is_small else None
