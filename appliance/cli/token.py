"""``pyindex token create|list|revoke``: secrets for programs."""

import re
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_json
from appliance.cli.source import Source, check_index
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from appliance.accounts.tokens import Token, Tokens

# As :data:`appliance.policy.rights.RIGHTS`, which takes long to import.
_RIGHTS = ("read", "upload", "yank", "remove")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}")


class _Duration(click.ParamType[timedelta]):
    """A duration as in specs."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        from appliance.spec.forms import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"expected {error}, got {value!r}", param, ctx)


class _Pattern(click.ParamType[str]):
    """A pattern of projects as in specs."""

    name = "pattern"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from appliance.spec.forms import project_pattern

        try:
            return project_pattern(str(value))
        except ValueError as error:
            self.fail(f"expected {error}, got {value!r}", param, ctx)


@click.group(short_help="create, list and revoke API tokens")
def token() -> None:
    """Work with API tokens. Clients send a token as password, with any user, or as Bearer."""


@token.command(short_help="create a token and print it, once")
@click.argument("name", metavar="NAME", help="name of the token, for lists and the journal")
@click.option(
    "--right",
    "rights",
    multiple=True,
    required=True,
    type=click.Choice(_RIGHTS),
    help="right of the token: read, upload, yank or remove; repeatable",
)
@click.option(
    "--index", "indexes", multiple=True, help="index that it is for; repeatable (default: all)"
)
@click.option(
    "--project",
    "projects",
    metavar="PATTERN",
    multiple=True,
    type=_Pattern(),
    help="projects that it is for, such as acme-*; repeatable (default: all)",
)
@click.option("--account", help="account that it belongs to (default: none)")
@click.option(
    "--expires", metavar="DURATION", type=_Duration(), help="such as 90d (default: never)"
)
@source_options
@json_option
def create(
    source: Source,
    name: str,
    rights: tuple[str, ...],
    indexes: tuple[str, ...],
    projects: tuple[str, ...],
    account: str | None,
    expires: timedelta | None,
    as_json: bool,
) -> None:
    """Create a token and print it; only its digest is stored. A token of an account has no right
    that the account lacks; a token without an account has the rights given here.
    """
    if not _NAME.fullmatch(name):
        expectation = "expected letters, digits and . _ @ + -, at most 64"
        raise click.UsageError(f"token name: {expectation}, got {name!r}")
    spec = source.load()
    for index in indexes:
        check_index(spec, index)
    if account is not None:
        _warn_of_account(spec.accounts.htpasswd, account)
    made, text = _tokens(spec.tokens).create(
        name,
        rights,
        account=account,
        indexes=indexes,
        projects=projects,
        seconds=None if expires is None else expires.total_seconds(),
    )

    if as_json:
        print_json(_facts(made, None) | {"token": text})
        return
    print(text)
    print(f"pyindex: token {name} created; it is not shown again", file=sys.stderr)


@token.command("list", short_help="list tokens")
@source_options
@json_option
def list_(source: Source, as_json: bool) -> None:
    """List tokens with rights, indexes, projects, account, expiry, and last use to the minute."""
    tokens = _tokens(source.load().tokens)
    rows = [_facts(each, tokens.last_used(each)) for each in tokens.all()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(_line(row))


@token.command(short_help="revoke a token")
@click.argument("name", metavar="NAME", help="name or id of the token")
@source_options
@json_option
def revoke(source: Source, name: str, as_json: bool) -> None:
    """Revoke a token: delete it. nginx remembers who may read for ten seconds; all other requests
    are refused at once.
    """
    revoked = _tokens(source.load().tokens).revoke(name)
    if as_json:
        print_json({"revoked": revoked.name, "id": revoked.id})
    else:
        print(f"token {revoked.name} revoked")


def _tokens(directory: Any) -> "Tokens":
    from appliance.accounts.tokens import Tokens

    return Tokens(directory)


def _warn_of_account(htpasswd: Any, account: str) -> None:
    from appliance.accounts.htpasswd import read

    if htpasswd is None:
        return
    try:
        is_known = account in read(htpasswd).hashes
    except PyindexError as error:
        print(f"pyindex: warning: {error}", file=sys.stderr)
        return
    if not is_known:
        text = f"{htpasswd}: no account {account}; the token is refused until there is one"
        print(f"pyindex: warning: {text}", file=sys.stderr)


def _facts(token: "Token", used: float | None) -> dict[str, Any]:
    return {
        "name": token.name,
        "id": token.id,
        "account": token.account,
        "rights": list(token.rights),
        "indexes": list(token.indexes),
        "projects": list(token.projects),
        "created": _time(token.created),
        "expires": _time(token.expires),
        "expired": token.is_expired,
        "used": _time(used),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _line(facts: dict[str, Any]) -> str:
    """A token on one line."""
    of = f" of {facts['account']}" if facts["account"] else ""
    projects = ", ".join(facts["projects"]) or "all projects"
    indexes = ", ".join(facts["indexes"]) or "all indexes"
    expiry = "never expires"
    if facts["expires"]:
        expiry = f"{'expired' if facts['expired'] else 'expires'} {facts['expires']}"
    used = f"used {facts['used']}" if facts["used"] else "never used"
    rights = ", ".join(facts["rights"])
    return f"{facts['name']}{of}: {rights} in {projects} of {indexes}; {expiry}; {used}"
