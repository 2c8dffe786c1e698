"""Rights: which principal may read, upload, yank or remove, in which index and project."""

from collections.abc import Callable, Iterator
from typing import Literal

from appliance.accounts.principal import ANONYMOUS, EVERYONE, MEMBERS, OWNER, Principal
from appliance.index.patterns import matches
from appliance.spec import Spec

Right = Literal["read", "upload", "yank", "remove"]
RIGHTS: tuple[Right, ...] = ("read", "upload", "yank", "remove")

Owner = Callable[[], str | None]
"""Looks up the owner of the project in question; ``None`` for a project without one."""


def _no_owner() -> None:
    return None


class Rights:
    """The lists of a spec. Projects are named by their normalized names (PEP 503); ``None`` asks
    for any project at all."""

    def __init__(self, spec: Spec) -> None:
        self._indexes = spec.indexes
        self._lineages = {name: spec.lineage(name) for name in spec.indexes}
        self._open = frozenset(filter(self._is_open, self._indexes))
        self._by_project = frozenset(filter(self._is_by_project, self._indexes))

    def has(
        self,
        principal: Principal,
        right: Right,
        index: str,
        project: str | None = None,
        owner: Owner = _no_owner,
    ) -> bool:
        """Whether the principal has the right.

        A token has it if its scope and its account have it; one without an account, if its scope
        has it. To read from an index is to read from its bases: all of them have to permit it.
        """
        indexes = self._lineages[index] if right == "read" else (index,)
        return all(self._has(principal, right, each, project, owner) for each in indexes)

    def _has(
        self, principal: Principal, right: Right, index: str, project: str | None, owner: Owner
    ) -> bool:
        if right == "read" and self._is_listed(ANONYMOUS, right, index, project, owner):
            return True
        scope = principal.scope
        if scope is not None:
            if right not in scope.rights or (scope.indexes and index not in scope.indexes):
                return False
            if project is not None and scope.projects and not matches(scope.projects, project):
                return False
            if principal.account is None:
                return True
        return self._is_listed(principal, right, index, project, owner)

    def _is_listed(
        self, principal: Principal, right: Right, index: str, project: str | None, owner: Owner
    ) -> bool:
        if project is None:
            lists = self._lists(index, right)
            return any(_names(accounts, principal, lambda: principal.account) for accounts in lists)

        accounts = self._of_project(index, right, project)
        if accounts is not None:
            return _names(accounts, principal, owner)
        accounts = getattr(self._indexes[index], right)
        if not _names(accounts, principal, owner):
            return False
        # A project of the index belongs to whoever uploaded it first.
        return right != "upload" or owner() in (None, principal.owner)

    def _of_project(self, index: str, right: Right, project: str) -> tuple[str, ...] | None:
        """The list of the first pattern that matches and has one for the right."""
        for pattern, rule in self._indexes[index].projects.items():
            accounts: tuple[str, ...] | None = getattr(rule, right)
            if accounts is not None and matches((pattern,), project):
                return accounts
        return None

    def _lists(self, index: str, right: Right) -> Iterator[tuple[str, ...]]:
        section = self._indexes[index]
        for rule in (section, *section.projects.values()):
            accounts: tuple[str, ...] | None = getattr(rule, right)
            if accounts is not None:
                yield accounts

    def is_open(self, index: str) -> bool:
        """Whether every client may read all of the index."""
        return index in self._open

    def is_by_project(self, index: str) -> bool:
        """Whether some clients may read a part of the index."""
        return index in self._by_project

    @property
    def has_secrets(self) -> bool:
        """Whether any index has something that not every client may read."""
        return len(self._open) < len(self._indexes)

    def _is_open(self, index: str) -> bool:
        return all(
            EVERYONE in accounts
            for each in self._lineages[index]
            for accounts in self._lists(each, "read")
        )

    def _is_by_project(self, index: str) -> bool:
        return any(
            rule.read is not None
            for each in self._lineages[index]
            for rule in self._indexes[each].projects.values()
        )


def _names(accounts: tuple[str, ...], principal: Principal, owner: Owner = _no_owner) -> bool:
    """Whether a list names the principal."""
    if EVERYONE in accounts:
        return True
    account = principal.account
    if account is None:
        return False
    return account in accounts or MEMBERS in accounts or (OWNER in accounts and owner() == account)
