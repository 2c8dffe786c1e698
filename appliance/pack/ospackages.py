"""OS packages of a host: which it needs, from a directory or from repositories."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.errors import PyindexError
from appliance.pack import debs, digests, rpms
from appliance.spec import Repository, Spec
from appliance.upstream import Report

INPUTS = ("packages", "repositories")

_SUFFIXES = {"centos-7": ".rpm", "debian-12": ".deb"}
_ALWAYS = ("nginx", "logrotate")
_CRON = {"centos-7": "cronie", "debian-12": "cron"}  # for the daily backup
# With SELinux, ansible's modules for files require the first, those for SELinux the others.
_CENTOS = ("libselinux-python", "libsemanage-python", "policycoreutils-python")


def names(spec: Spec, system: str) -> tuple[str, ...]:
    """The OS packages that a play installs on a host that lacks them."""
    supervisor = ("supervisor", _CRON[system]) if spec.server.manager == "supervisor" else ()
    return _ALWAYS + supervisor + (_CENTOS if system == "centos-7" else ())


def inputs(spec: Spec, system: str, directory: Path | None) -> dict[str, Any]:
    """The inputs of the OS packages, which are others when these change: the files of ``directory``
    if that is given, or the repositories with the names of what is taken from them. Raises
    PyindexError for a directory without packages, or repositories that are not for the system."""
    if directory is not None:
        files = {path.name: digests.of_file(path) for path in _listed(directory, system)}
        return {"packages": files}
    repositories = spec.host.repositories
    if not repositories:
        return {"packages": {}}
    _check(repositories, system)
    keys = [_key(repository) for repository in repositories]
    listed = [[each.url, key] for each, key in zip(repositories, keys, strict=True)]
    return {"packages": {}, "repositories": [listed, list(names(spec, system))]}


def collect(
    spec: Spec,
    system: str,
    given: Path | None,
    downloads: Path,
    old: Path | None,
    report: Report,
) -> list[Path]:
    """The files of ``given``, or those from the repositories of the spec, with all that they
    require.

    ``downloads`` keeps finished files if this is interrupted; those of ``old``, the packages of an
    older pack, are not downloaded again. Raises PyindexError if a file cannot be had or verified.
    """
    if given is not None:
        return _listed(given, system)
    if not spec.host.repositories:
        return []
    repositories, wanted = spec.host.repositories, names(spec, system)
    if system == "centos-7":
        return rpms.download(repositories, wanted, downloads, old, report)
    report.update("fetching packages by apt-get")
    return debs.download(repositories, wanted, downloads, old)


def keys(spec: Spec, given: Path | None) -> list[Path]:
    """The files with the public keys of the packages, if they are those of the repositories."""
    repositories = spec.host.repositories if given is None else ()
    return list(dict.fromkeys(each.key for each in repositories if each.key))


def add(files: Sequence[Path], directory: Path, system: str, keys: Sequence[Path]) -> None:
    """Copy ``files`` into ``directory``, which is new if there are any; for CentOS 7 it becomes a
    repository for yum, which verifies them by ``keys`` if there are any."""
    if not files:
        return
    directory.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, directory / path.name)
    if system == "centos-7":
        rpms.describe(directory, keys)


def _listed(directory: Path, system: str) -> list[Path]:
    suffix = _SUFFIXES[system]
    if not directory.is_dir():
        problem = f"no such directory; create it with the {suffix} files of the host"
        raise PyindexError(f"{directory}: {problem}")
    packages = sorted(directory.glob(f"*{suffix}"))
    if not packages:
        raise PyindexError(f"{directory}: no {suffix} files; copy those of {system} into it")
    return packages


def _check(repositories: Sequence[Repository], system: str) -> None:
    """Raise PyindexError for repositories of another form than the system's, or missing keys."""
    form = "URL" if system == "centos-7" else "URL SUITE COMPONENT"
    for repository in repositories:
        if (" " in repository.url) == (system == "centos-7"):
            raise PyindexError(
                f"host.repositories: {repository.url}: expected {form} for {system}; correct it"
            )
    without = [each.url for each in repositories if each.key is None]
    if system == "centos-7" and without and len(without) < len(repositories):
        raise PyindexError(
            f"host.repositories: {without[0]}: no key, and others have one; add its key, or remove"
            " all keys"
        )


def _key(repository: Repository) -> str | None:
    """The digest of the file with the public key."""
    try:
        return digests.of_file(repository.key) if repository.key else None
    except OSError as error:
        raise PyindexError(
            f"host.repositories: {repository.key}: {error.strerror}; correct the path"
        ) from None
