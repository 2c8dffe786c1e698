"""Upstreams as environment variables of uv and git, which no other user can read, unlike
arguments."""

from collections.abc import Iterable

from appliance.upstream.upstreams import Credential, Network, Upstreams
from appliance.upstream.urls import with_userinfo


def uv_environment(upstreams: Upstreams) -> dict[str, str]:
    """The variables with which ``uv --no-config`` uses these upstreams, in an environment without
    other UV_ variables.

    They contain passwords. uv reads netrc itself. Pass :func:`uv_arguments`, too.
    """
    *first, last = _with_logins(upstreams.indexes, upstreams) or [""]
    network = upstreams.network
    strategy = "unsafe-best-match" if upstreams.is_merged else "first-index"
    return _present(
        {
            "UV_INDEX": " ".join(first),
            "UV_DEFAULT_INDEX": last,  # uv asks it last
            "UV_INDEX_STRATEGY": strategy,
            "UV_FIND_LINKS": ",".join(_with_logins(upstreams.find_links, upstreams)),
            "UV_INSECURE_HOST": " ".join(network.trusted_hosts),
            "UV_KEYRING_PROVIDER": "subprocess" if network.has_keyring else "disabled",
            "UV_HTTP_TIMEOUT": str(round(network.timeout_seconds or 0) or ""),
            "SSL_CERT_FILE": str(network.ca or ""),
            "SSL_CLIENT_CERT": str(network.client_certificate or ""),
            **_proxies(network),
        }
    )


def uv_arguments(upstreams: Upstreams) -> tuple[str, ...]:
    """The arguments that uv needs besides: without an index it would ask the one that is built into
    it, and no variable prevents that."""
    return () if upstreams.indexes else ("--no-index",)


def git_environment(upstreams: Upstreams) -> dict[str, str]:
    """The variables with which git connects as to these upstreams, and asks for no password."""
    network = upstreams.network
    return _present(
        {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSL_CAINFO": str(network.ca or ""),
            **_proxies(network),
        }
    )


def _present(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if value}


def _proxies(network: Network) -> dict[str, str]:
    return {f"{scheme.upper()}_PROXY": url for scheme, url in network.proxies.items()} | {
        f"{scheme}_proxy": url for scheme, url in network.proxies.items()
    }


def _with_logins(urls: Iterable[str], upstreams: Upstreams) -> list[str]:
    logins = {credential.url: credential for credential in upstreams.credentials}
    return [_with_login(url, logins.get(url)) for url in urls]


def _with_login(url: str, login: Credential | None) -> str:
    return url if login is None else with_userinfo(url, login.user, login.password)
