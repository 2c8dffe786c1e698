"""Login: who sends a request, and whether that permits it.

Credentials are HTTP Basic (RFC 7617), with an account and its password, or any user and a token; or
a token as Bearer (RFC 6750).
"""

import base64
import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

import falcon

from appliance.accounts.passwords import Passwords, TooManyFailures
from appliance.accounts.principal import ANONYMOUS, Principal
from appliance.accounts.throttle import Throttle
from appliance.accounts.tokens import Tokens, has_valid_checksum, is_token
from appliance.catalog.database import Catalog
from appliance.policy.rights import Right, Rights
from appliance.spec import Spec
from appliance.web import address

log = logging.getLogger(__name__)

_CHALLENGE = 'Basic realm="pypi"'


Readable = Callable[[str], bool]
"""Whether a client may read a project, by its normalized name."""


def _every(project: str) -> bool:
    return True


class _Credentials(NamedTuple):
    """User and password; a token is a password, whatever the user."""

    user: str
    password: str


class Login:
    """The accounts and tokens of ``spec``, and its rights."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self._catalog = catalog
        self.rights = Rights(spec)
        throttle = Throttle(spec.state / "failures")
        self._passwords = Passwords(spec.accounts.htpasswd, throttle)
        self._tokens = Tokens(spec.tokens)

    def authorize(
        self, req: falcon.Request, index: str, right: Right, project: str | None = None
    ) -> Principal:
        """Who sends the request, if that has the right in ``project`` (normalized), or in any
        project of the index for ``None``.

        Raises HTTPUnauthorized without valid credentials, and HTTPForbidden without the right.
        Where all clients may read all projects, no credentials are checked. To read a project, use
        :meth:`readable`: one that the client may not read is absent.
        """
        if right == "read" and self.rights.is_open(index):
            return ANONYMOUS
        principal = self.principal(req)
        if self.has(principal, right, index, project):
            return principal

        if principal.is_anonymous:
            raise _unauthorized("log in with an account or a token")
        where = f"index {index}" if project is None else f"project {project} of index {index}"
        text = f"{principal} has no right to {right} in {where}"
        raise falcon.HTTPForbidden(description=text + self._cause(principal, right, index, project))

    def readable(self, req: falcon.Request, index: str) -> Readable:
        """Which projects of the index the client may read. Raises as :meth:`authorize` does."""
        principal = self.authorize(req, index, "read")
        if not self.rights.is_by_project(index):
            return _every
        return lambda project: self.has(principal, "read", index, project)

    def has(
        self, principal: Principal, right: Right, index: str, project: str | None = None
    ) -> bool:
        """Whether the principal has the right."""

        def owner() -> str | None:
            with self._catalog.read() as reader:
                return reader.owner(index, project or "")

        return self.rights.has(principal, right, index, project, owner)

    def _cause(self, principal: Principal, right: Right, index: str, project: str | None) -> str:
        """Why a principal that may upload to the index may not to the project: its owner, if the
        principal may read it. Otherwise empty."""
        if right != "upload" or project is None or not self.has(principal, right, index):
            return ""
        with self._catalog.read() as reader:
            owner = reader.owner(index, project)
        if owner in (None, principal.owner) or not self.has(principal, "read", index, project):
            return ""
        return f": the project belongs to {owner}"

    def principal(self, req: falcon.Request) -> Principal:
        """Who sends the request. Raises HTTPUnauthorized for wrong credentials, and
        HTTPTooManyRequests after too many."""
        principal = self._principal(req)
        req.context.principal = principal
        return principal

    def _principal(self, req: falcon.Request) -> Principal:
        header = req.env.get("HTTP_AUTHORIZATION")
        if header is None:
            return ANONYMOUS
        credentials = _credentials(header)
        if credentials is None:
            raise _unauthorized("the header Authorization is neither Basic nor Bearer")
        if is_token(credentials.password):
            return self._of_token(credentials.password)
        return self._of_account(req, *credentials)

    def _of_account(self, req: falcon.Request, user: str, password: str) -> Principal:
        try:
            is_valid = self._passwords.check(user, password, address.client(req))
        except TooManyFailures as error:
            raise falcon.HTTPTooManyRequests(
                description=str(error), headers={"Retry-After": str(error.retry_seconds)}
            ) from None
        if not is_valid:
            raise _unauthorized("wrong account or password")
        return Principal(user)

    def _of_token(self, text: str) -> Principal:
        token = self._tokens.find(text)
        if token is None:
            known = has_valid_checksum(text)
            raise _unauthorized("revoked or expired token" if known else "mistyped token")
        if token.account is not None and not self._passwords.has(token.account):
            raise _unauthorized(f"the account {token.account} of this token does not exist")
        return token.principal


def _credentials(header: str) -> _Credentials | None:
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and is_token(value):
        return _Credentials("__token__", value)
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            user, colon, password = _text(base64.b64decode(value, validate=True)).partition(":")
            return _Credentials(user, password) if colon else None
    return None


def _text(data: bytes) -> str:
    """User and password: UTF-8, as the challenge cannot say to old clients; pip sends Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _unauthorized(text: str) -> falcon.HTTPUnauthorized:
    return falcon.HTTPUnauthorized(description=text, challenges=(_CHALLENGE,))
