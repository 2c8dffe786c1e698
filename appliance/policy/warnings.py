"""Warnings: rights of a spec that are valid, and yet may not be what the operator means."""

from collections.abc import Iterator

from appliance.accounts import htpasswd
from appliance.accounts.principal import NO_ACCOUNTS
from appliance.policy.rights import RIGHTS, Rights
from appliance.spec import Spec


def warnings(spec: Spec) -> Iterator[str]:
    """Yield a message for each account that cannot log in, each line of the htpasswd file that
    cannot be used, and each index that is more open than a base."""
    yield from _of_accounts(spec)
    rights = Rights(spec)
    for name, section in spec.indexes.items():
        for base in section.bases:
            if "everyone" in section.read and not rights.is_open(base):
                yield (
                    f"indexes.{name}.read: everyone, but its base {base} is not for everyone;"
                    f" clients that may not read {base} may not read {name}"
                )


def _of_accounts(spec: Spec) -> Iterator[str]:
    named = dict(_named(spec))
    path = spec.accounts.htpasswd
    if path is None:
        if named:
            yield f"accounts.htpasswd: missing; {', '.join(named)} can log in by tokens alone"
        return
    if spec.host.system is not None and not path.exists():
        return  # a file of the host, and this may be another machine
    try:
        accounts = htpasswd.read(path)
    except htpasswd.AccountsError as error:
        yield f"accounts.htpasswd: {error}; no account can log in"
        return
    yield from accounts.problems
    for account, key in named.items():
        if account not in accounts.hashes:
            yield f"{key}: account {account} not found in {path}"


def _named(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the accounts in lists of rights, each with the key of a list."""
    for name, section in spec.indexes.items():
        rules = {
            "": section,
            **{f".projects.{key}": rule for key, rule in section.projects.items()},
        }
        for key, rule in rules.items():
            for right in RIGHTS:
                for account in getattr(rule, right) or ():
                    if account not in NO_ACCOUNTS:
                        yield account, f"indexes.{name}{key}.{right}"
