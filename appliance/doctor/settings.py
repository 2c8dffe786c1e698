"""What pip and uv are told by their configuration files and the environment."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from appliance.doctor.finding import Finding, ok, problem, warning
from appliance.upstream import pipconfig, uvconfig
from appliance.upstream.urls import redacted, without_userinfo


def of_pip(index: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what pip would ask instead of ``index``, the URL of a simple API, or beside it.

    Raises :class:`PyindexError` for a configuration file that pip could not read either.
    """
    settings = pipconfig.read(environment, pipconfig.INSTALL)
    options = pipconfig.options(settings)
    found = [
        *_default("pip", "index-url", options.index_url, index),
        *_others("pip", "extra-index-url", options.extra_index_urls, index),
        *_links("pip", options.find_links),
    ]
    if options.no_index:
        found.append(problem("pip", "no-index is set, so that pip asks no index; remove it"))
    if proxy := settings.get("proxy"):
        found.append(warning("pip", f"asks the index through the proxy {redacted(proxy)}"))
    host = urlsplit(index).netloc
    trusted = {host, host.partition(":")[0]} & {*settings.get("trusted-host", "").split()}
    if index.startswith("https:") and trusted:
        text = f"trusted-host {trusted.pop()} accepts any certificate; set `cert` to the CA's file"
        found.append(warning("pip", text))
    yield from found or [ok("pip", f"asks {index} alone")]


def of_uv(index: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The same for uv."""
    settings = uvconfig.read(environment)
    found = [
        *_default("uv", "the default index", settings.default, index),
        *_others("uv", "index", settings.others, index),
        *_links("uv", settings.find_links),
    ]
    yield from found or [ok("uv", f"asks {index} alone")]


def without_index(environment: Mapping[str, str]) -> frozenset[str]:
    """The clients that no setting names an index, so that they ask their default one."""
    pip = pipconfig.options(pipconfig.read(environment, pipconfig.INSTALL)).index_url
    named = {"pip": pip, "uv": uvconfig.read(environment).default}
    return frozenset(client for client, index in named.items() if index is None)


def of_proxies(index: str) -> Iterator[Finding]:
    """Yield the proxy that the environment names for the host of ``index``."""
    split = urlsplit(index)
    proxies = getproxies()
    proxy = proxies.get(split.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(split.netloc):
        text = f"{split.hostname} is asked through {redacted(proxy)}; add it to NO_PROXY otherwise"
        yield warning("proxy", text)
    else:
        yield ok("proxy", f"{split.hostname} is asked directly")


def _default(client: str, name: str, value: str | None, index: str) -> Iterator[Finding]:
    advice = f"run `pyindex client {client} --url {index.removesuffix('/simple/')} --write`"
    if value is None:
        text = f"{name} is not set, so that {client} asks the public index; {advice}"
        yield problem(client, text)
    elif not _is_same(value, index):
        yield problem(client, f"{name} is {redacted(value)}, not {index}; {advice}")


def _others(client: str, name: str, values: Iterable[str], index: str) -> Iterator[Finding]:
    for value in values:
        if not _is_same(value, index):
            text = f"{name} {redacted(value)} may answer for any project; remove it"
            yield problem(client, text)


def _links(client: str, values: Iterable[str]) -> Iterator[Finding]:
    for value in values:
        yield warning(
            client,
            f"find-links {redacted(value)} is used beside the index; remove it"
            " unless its files are wanted",
        )


def _is_same(value: str, index: str) -> bool:
    return without_userinfo(value)[0].rstrip("/") == index.rstrip("/")
