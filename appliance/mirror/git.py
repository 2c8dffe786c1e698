"""Git repositories: the commit that a reference names, and a checkout of it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from appliance.errors import PyindexError
from appliance.mirror.running import environment, run
from appliance.upstream import Credential, Upstreams, git_environment
from appliance.upstream.upstreams import split_credential
from appliance.upstream.urls import redacted, with_userinfo, without_secrets

_SECONDS = 900
_SCHEMES = ("file", "http", "https")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A Git repository and a reference in it.

    Attributes:
        url: Its URL without user and password.
        reference: A commit, tag or branch; "" for the default branch.
        subdirectory: The path of the project in it; "" for the top.
        login: User and password, if the location has them.
    """

    url: str
    reference: str = ""
    subdirectory: str = ""
    login: Credential | None = field(default=None, repr=False)

    def origin(self, commit: str) -> str:
        """The location of the project at a commit, as pip writes it."""
        fragment = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        return f"git+{without_secrets(self.url)}@{commit}{fragment}"


def parse(location: str) -> Repository:
    """Return the repository at ``git+https://host/path@reference#subdirectory=path``. Raises
    :class:`PyindexError` for another system, scheme, or a path that leads out of it."""
    system, plus, rest = location.partition("+")
    if system != "git" or not plus:
        raise PyindexError(f"{redacted(location)}: {_system(location)} is not supported; use Git")
    try:
        split = urlsplit(rest)
    except ValueError:
        raise PyindexError(f"{redacted(location)}: not a URL; correct it") from None
    if split.scheme not in _SCHEMES:
        scheme = split.scheme if "://" in rest else "ssh"
        raise PyindexError(
            f"{redacted(location)}: git over {scheme} is not supported; use https, http or file"
        )
    path, at, reference = split.path.rpartition("@")
    url, login = split_credential(
        split._replace(path=path if at else split.path, fragment="").geturl()
    )
    return Repository(url, reference if at else "", subdirectory_of(location), login)


def subdirectory_of(location: str) -> str:
    """Return the path below its sources that a location names; "" for the top. Raises
    :class:`PyindexError` for one that leads out of them."""
    fragment = location.partition("#")[2]
    path = parse_qs(fragment).get("subdirectory", [""])[0].strip("/")
    if ".." in path.split("/"):
        raise PyindexError(f"{redacted(location)}: subdirectory outside of it; correct it")
    return path


def _system(location: str) -> str:
    scheme = location.partition(":")[0].partition("+")[0]
    return scheme if scheme in ("hg", "svn", "bzr") else "this location"


class Git:
    """The program ``git``, which asks nothing, with the network settings of ``upstreams``."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._variables = environment(git_environment(upstreams))

    async def resolve(self, repository: Repository, directory: Path) -> str:
        """Return the commit that the reference names now. Raises :class:`PyindexError`."""
        reference = repository.reference
        if _COMMIT.fullmatch(reference):
            return reference
        names = [f"refs/heads/{reference}", f"refs/tags/{reference}^{{}}", f"refs/tags/{reference}"]
        wanted = names if reference else ["HEAD"]
        arguments = ("ls-remote", "--", repository.url, *wanted)
        listed = await self._run(repository, directory, *arguments)
        lines = (line.partition("\t") for line in listed.splitlines())
        commits = {name: commit for commit, _, name in lines}
        for name in wanted:
            if _COMMIT.fullmatch(commits.get(name, "")):
                return commits[name]
        raise PyindexError(
            f"{redacted(repository.url)}: no branch or tag {reference!r}; correct it, or write all"
            " digits of a commit"
        )

    async def tags(self, repository: Repository, directory: Path) -> str:
        """Return a text that changes with the tags of the repository: versions are often made of
        them. Raises :class:`PyindexError`."""
        return await self._run(repository, directory, "ls-remote", "--tags", "--", repository.url)

    async def checkout(self, repository: Repository, commit: str, directory: Path) -> None:
        """Write the files of a commit, with its submodules and history, into a new directory."""
        await self._run(
            *(repository, directory.parent, "clone", "--quiet", "--no-checkout"),
            *("--", repository.url, directory.name),
        )
        try:
            await self._run(repository, directory, "checkout", "--quiet", "--detach", commit)
        except PyindexError:  # of no branch: it has to be asked for
            await self._run(repository, directory, "fetch", "--quiet", "origin", commit)
            await self._run(repository, directory, "checkout", "--quiet", "--detach", commit)
        await self._run(
            *(repository, directory, "submodule", "--quiet", "update", "--init", "--recursive")
        )

    async def head(self, directory: Path) -> tuple[str, int] | None:
        """Return what is checked out in a directory, the commit and its place after the last tag,
        and its time in seconds; ``None`` outside of a repository."""
        describe = ("describe", "--tags", "--long", "--always", "--abbrev=40")
        try:
            time = await self._run(None, directory, "log", "-1", "--format=%ct")
            return (await self._run(None, directory, *describe)).strip(), int(time)
        except (PyindexError, ValueError):
            return None

    async def _run(self, repository: Repository | None, directory: Path, *words: str) -> str:
        variables = self._variables | (access_variables(repository) if repository else {})
        what = f"git {words[0]}" + (f" {redacted(repository.url)}" if repository else "")
        return await run(what, ["git", *words], directory, variables, _SECONDS)


def access_variables(repository: Repository) -> dict[str, str]:
    """The variables that let git use the login, which no other user can read, unlike arguments;
    and only the protocols of URLs: a submodule of a remote repository is not one of this machine.
    """
    is_local = repository.url.startswith("file:")
    variables = {"GIT_ALLOW_PROTOCOL": "file:http:https" if is_local else "http:https"}
    if repository.login is None:
        return variables
    login = repository.login
    return variables | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{with_userinfo(login.url, login.user, login.password)}.insteadOf",
        "GIT_CONFIG_VALUE_0": login.url,
    }
