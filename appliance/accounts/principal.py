"""Principal: who sends a request, and the scope of the token that says so."""

from dataclasses import dataclass

EVERYONE, MEMBERS, OWNER, TOKENS = "everyone", "members", "owner", "tokens"
"""Names in lists of accounts that are no accounts: all clients, all accounts, the owner of the
project, and tokens without an account."""
NO_ACCOUNTS = frozenset({EVERYONE, MEMBERS, OWNER, TOKENS})


@dataclass(frozen=True, slots=True)
class Scope:
    """Extent of a token: rights, indexes (empty: all) and patterns of projects (empty: all)."""

    rights: frozenset[str]
    indexes: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """An account, a token, or both; neither is an anonymous client.

    Attributes:
        account: Name of the account; of a token, the one that it belongs to, if any.
        token: Name of the token.
        scope: That of the token.
    """

    account: str | None = None
    token: str | None = None
    scope: Scope | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.account is None and self.token is None

    @property
    def owner(self) -> str:
        """The name under which it owns projects. No account has one with a colon."""
        return self.account if self.account is not None else f"token:{self.token}"

    def __str__(self) -> str:
        """As the journal and logs name it: "alice", "alice (token ci)", "token ci"."""
        if self.token is None:
            return self.account or "anonymous"
        return f"{self.account} (token {self.token})" if self.account else f"token {self.token}"


ANONYMOUS = Principal()
