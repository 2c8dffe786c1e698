"""``pyindex doctor``: whether this machine installs from an index alone."""

import os
from dataclasses import asdict

import click

from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.source import Source
from appliance.errors import PyindexError


@click.command(short_help="check that this machine installs from an index alone")
@click.argument("url", required=False, help="URL of the index (default: from the spec or pip)")
@source_options
@json_option
def doctor(url: str | None, source: Source, as_json: bool) -> int:
    """Check this machine as a client of the index at URL (default: from the spec, if one is named,
    or pip's configuration): what pip and uv are told, proxies, DNS, connection, certificate, the
    answer, the clock. Then pip and uv install a small wheel through a proxy that connects them
    with the index alone, and name every other host that they ask. Exits with 1 if there is a
    problem.
    """
    from appliance.doctor import examine

    findings = []
    for finding in examine(_index(url, source), os.environ):
        findings.append(finding)
        if not as_json:
            print(f"{finding.level:7}  {finding.subject:10}  {finding.text}", flush=True)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def _index(url: str | None, source: Source) -> str:
    """The URL of the simple API, with a slash at its end."""
    from appliance.upstream import pipconfig
    from appliance.upstream.urls import legal, origin, redacted, without_userinfo

    if url is None and source.is_named:
        url = source.read().url
    url = url or pipconfig.options(pipconfig.read(os.environ, pipconfig.INSTALL)).index_url
    if url is None:
        raise PyindexError("no index: pass its URL, such as https://pypi.lab.example")
    try:
        plain = without_userinfo(legal(url))[0].rstrip("/")
        if origin(plain)[0] == "file":
            raise ValueError
    except ValueError:
        raise PyindexError(
            f"expected the http or https URL of an index, got {redacted(url)!r}"
        ) from None
    if "?" in plain or "#" in plain:
        raise PyindexError(
            f"expected the URL of an index without query and fragment, got {redacted(plain)!r};"
            " correct it"
        )
    return f"{plain}/" if plain.endswith("/simple") else f"{plain}/simple/"
