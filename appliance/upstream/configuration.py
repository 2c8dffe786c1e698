"""Which upstreams to use, from the most to the least explicit source.

The sources, in order: the command line, the input's own options, the spec's ``upstreams``, pip's
configuration, uv's, and at last the index that pip itself uses by default. The search ends at the
first source that names an index; extra indexes and find-links of the sources before it are added.
No index is built in.

Lists of the spec and of uv are asked in order: the first index that has a project answers alone.
The options of pip mean pip's union.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.errors import PyindexError
from appliance.inputs.demand import Options
from appliance.spec import Spec
from appliance.upstream import pipconfig, uvconfig
from appliance.upstream.upstreams import Credential, Network, Upstreams, split_credential
from appliance.upstream.urls import legal, origin, redacted


@dataclass(frozen=True, slots=True)
class _Source:
    """The indexes of one source.

    ``is_complete`` if it names all, ``is_ordered`` if the first that has a project answers alone,
    ``has_no_index`` if not even those of other sources count; ``ca`` replaces pip's ``cert``.
    """

    name: str
    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    is_complete: bool = False
    is_ordered: bool = False
    has_no_index: bool = False
    credentials: tuple[Credential, ...] = ()
    ca: Path | None = None


def choose(
    command_line: Options = Options(),  # noqa: B008  # it is frozen
    own: Options = Options(),  # noqa: B008
    spec: Spec | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Upstreams:
    """The upstreams for an input with the options ``own``.

    Raises PyindexError if no source names an index, if one is no URL, or if a configuration or
    password file cannot be read.
    """
    settings = pipconfig.read(environment)
    sources: list[_Source] = []
    for source in _sources(command_line, own, spec, settings, environment):
        sources.append(source)
        if source.is_complete:
            # The input's own files count whatever names the index, as in pip.
            links = _Source(source.name, find_links=own.find_links if len(sources) == 1 else ())
            network = _network(settings, environment)
            network = replace(network, ca=source.ca) if source.ca else network
            private = spec.private if spec else ()
            return replace(_combined([*sources, links], network), private=private)
    raise PyindexError(
        "upstreams: no index is configured; pass --index-url URL, add `upstreams` to the spec, or"
        " set index-url in pip's configuration"
    )


def _sources(
    command_line: Options,
    own: Options,
    spec: Spec | None,
    settings: Mapping[str, str],
    environment: Mapping[str, str],
) -> Iterator[_Source]:
    yield _of_options("command line", command_line)
    yield _of_options("input", own)
    if spec is not None and spec.upstreams:
        yield _of_spec(spec)
    yield _of_options("pip's configuration", pipconfig.options(settings))
    yield _of_uv(environment)
    if index := pipconfig.default_index(environment):
        yield _Source("pip's default", (index,), is_complete=True)


def _of_options(name: str, options: Options) -> _Source:
    own = (options.index_url,) if options.index_url else ()
    return _Source(
        name,
        (*own, *options.extra_index_urls),
        options.find_links,
        is_complete=bool(own) or options.no_index,
        has_no_index=options.no_index,
    )


def _of_spec(spec: Spec) -> _Source:
    credentials = tuple(
        Credential(upstream.url, upstream.username, _password(upstream.password_file))
        for upstream in spec.upstreams
        if upstream.username
    )
    indexes = tuple(upstream.url for upstream in spec.upstreams)
    ca = next((upstream.ca for upstream in spec.upstreams if upstream.ca), None)
    return _Source(
        "upstreams",
        indexes,
        is_complete=True,
        is_ordered=True,
        credentials=credentials,
        ca=ca,  # one for all, as its loading has checked
    )


def _password(file: Path | None) -> str | None:
    """The first line of a password file."""
    if file is None:
        return None
    try:
        return file.read_text().partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise PyindexError(f"{file}: {reason}; correct password_file in the spec") from None


def _of_uv(environment: Mapping[str, str]) -> _Source:
    uv = uvconfig.read(environment)
    default = (uv.default,) if uv.default else ()
    indexes = (*uv.others, *default)
    return _Source("uv's configuration", indexes, uv.find_links, bool(default), bool(indexes))


def _combined(sources: list[_Source], network: Network) -> Upstreams:
    """The upstreams of all sources; an ordered one makes all of them ordered."""
    has_no_index = any(source.has_no_index for source in sources)
    indexes = [
        _with_slash(*_location(text, source))
        for source in sources
        for text in source.indexes
        if not has_no_index
    ]
    links = [_location(text, source) for source in sources for text in source.find_links]
    credentials = [credential for source in sources for credential in source.credentials]
    credentials += [credential for _, credential in (*indexes, *links) if credential]

    urls = tuple(dict.fromkeys(url for url, _ in indexes))
    is_ordered = any(source.is_ordered for source in sources)
    return Upstreams(
        indexes=urls,
        is_merged=len(urls) > 1 and not is_ordered,
        find_links=tuple(dict.fromkeys(url for url, _ in links)),
        credentials=tuple({each.url: each for each in reversed(credentials)}.values()),
        network=network,
    )


def _with_slash(url: str, credential: Credential | None) -> tuple[str, Credential | None]:
    """The URL of an index, to which the names of projects can be appended."""
    url = url.rstrip("/") + "/"
    return url, replace(credential, url=url) if credential else None


def _location(text: str, source: _Source) -> tuple[str, Credential | None]:
    """The URL of an index or of find-links, which may be a path, and its credential."""
    if "://" not in text and Path(text).exists():
        return Path(text).absolute().as_uri(), None
    try:
        url, credential = split_credential(legal(text))
        origin(url)
    except ValueError:
        raise PyindexError(
            f"{source.name}: expected a URL such as https://index.example/simple/,"
            f" got {redacted(text)!r}; correct it"
        ) from None
    return url, credential


def _network(settings: Mapping[str, str], environment: Mapping[str, str]) -> Network:
    """How pip connects to hosts, for all sources."""
    # requests, which pip uses, prefers these two to pip's own setting.
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    ca = bundle or settings.get("cert")
    certificate = settings.get("client-cert")
    return Network(
        trusted_hosts=tuple(settings.get("trusted-host", "").split()),
        ca=Path(ca) if ca else None,
        client_certificate=Path(certificate) if certificate else None,
        proxies=_proxies(settings, environment),
        timeout_seconds=_timeout(settings),
        has_keyring=settings.get("keyring-provider") != "disabled",
    )


def _proxies(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    if proxy := settings.get("proxy"):
        url = proxy if "://" in proxy else f"http://{proxy}"
        return {"http": url, "https": url}
    names = ("http", "https", "all", "no")
    values = {
        name: environment.get(f"{name}_proxy") or environment.get(f"{name.upper()}_PROXY")
        for name in names
    }
    return {name: value for name, value in values.items() if value}


def _timeout(settings: Mapping[str, str]) -> float | None:
    text = settings.get("timeout") or settings.get("default-timeout")
    try:
        return max(float(text), 0.1) if text else None
    except ValueError:
        raise PyindexError(
            f"pip's configuration: timeout: expected a number of seconds, got {text!r}; correct it"
        ) from None
