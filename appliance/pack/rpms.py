""".rpm files from yum's repositories, by libsolv, and the description of those in a pack.

libsolv is the solver of dnf and zypper. It and createrepo_c are wheels of the extra ``rpm``, which
only a control machine needs: they are imported here, and late.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import getproxies

from appliance.errors import PyindexError, Rejected
from appliance.pack import digests, openpgp
from appliance.spec import Repository
from appliance.text import counted
from appliance.upstream import (
    NO_REPORT,
    Client,
    Failed,
    Network,
    RemoteFile,
    Report,
    Upstreams,
    fetch,
)

_NAME = r"[A-Za-z0-9][A-Za-z0-9._+~^-]*"  # of a file: no directory, none that starts with a dot
_DIGESTS = ("sha256", "sha384", "sha512")
_ARCHITECTURES = ("x86_64", "noarch")


def download(
    repositories: Sequence[Repository],
    names: Sequence[str],
    downloads: Path,
    old: Path | None,
    report: Report = NO_REPORT,
) -> list[Path]:
    """Download the newest packages ``names`` with all that they require, and return the files.

    Each file is compared with the digest in the repository's metadata, and that with repomd.xml,
    whose signature is verified if it has one and the key is given. ``downloads`` keeps finished
    files between runs, ``old`` may have some. Raises PyindexError if a package is missing, or a
    file cannot be downloaded or is another one.
    """
    solv = _library("solv")
    upstreams = Upstreams(network=Network(proxies=getproxies()))
    with tempfile.TemporaryDirectory() as work:
        pool = solv.Pool()
        pool.setdisttype(solv.Pool.DISTTYPE_RPM)
        pool.setarch(_ARCHITECTURES[0])
        for number, repository in enumerate(repositories):
            report.update(f"reading {repository.url}")
            directory = Path(work, str(number))
            asyncio.run(_add_metadata(solv, pool, repository, directory, upstreams))
        files = [_file(solv, solvable) for solvable in _solve(solv, pool, names)]

    archives = downloads / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    for file in files:
        name, sha256 = file.filename, file.sha256
        if old and (old / name).is_file() and digests.of_file(old / name) == sha256:
            shutil.copyfile(old / name, archives / name)
    return asyncio.run(_fetch_all(upstreams, files, archives, report))


def describe(directory: Path, keys: Sequence[Path]) -> None:
    """Make ``directory`` a repository for yum: with repodata/ of its .rpm files, and with keys/ if
    yum is to verify their signatures. The same files give the same bytes."""
    _library("createrepo_c")
    for path in directory.glob("*.rpm"):
        os.utime(path, (0, 0))  # is in the metadata
    script = "import createrepo_c; createrepo_c.createrepo_c()"
    options = ["--quiet", "--no-database", "--simple-md-filenames", "--compress-type=gz"]
    options += ["--general-compress-type=gz", "--revision=0", "--set-timestamp-to-revision"]
    process = subprocess.run(
        [sys.executable, "-c", script, *options, str(directory)], capture_output=True, text=True
    )
    if process.returncode:
        raise PyindexError(f"createrepo_c: {process.stderr.strip()}; remove files that are no rpm")
    for number, key in enumerate(keys):
        (directory / "keys").mkdir(exist_ok=True)
        shutil.copyfile(key, directory / "keys" / f"{number}.asc")


def _library(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError:
        raise PyindexError(
            f"{name}: not installed, and .rpm files require it; run"
            f" `{sys.executable} -m pip install solv createrepo-c`"
        ) from None


async def _add_metadata(
    solv: Any, pool: Any, repository: Repository, directory: Path, upstreams: Upstreams
) -> None:
    """Download the list of packages of a repository and add it to the pool."""
    url, repo = repository.url, pool.add_repo(repository.url)
    (listed,) = await _fetch_all(upstreams, [_remote(url, "repodata/repomd.xml")], directory)
    if repository.key:
        await _verify(listed, f"{url}repodata/repomd.xml", repository.key, upstreams)
    if not repo.add_repomdxml(solv.xfopen(str(listed)), 0):
        raise PyindexError(f"{url}repodata/repomd.xml: {_reason(pool)}; check the URL")
    primary = _primary(solv, repo, url)
    (packages,) = await _fetch_all(upstreams, [primary], directory)
    file = solv.xfopen(str(packages))
    if file is None:  # libsolv would crash
        raise PyindexError(f"{primary.url}: unknown compression; use a mirror that has .gz or .xz")
    if not repo.add_rpmmd(file, None, 0):
        raise PyindexError(f"{primary.url}: {_reason(pool)}; check the repository")


async def _verify(file: Path, url: str, key: Path, upstreams: Upstreams) -> None:
    """Verify the signature beside ``url``, if there is one: not every repository is signed."""
    async with Client(upstreams) as client:
        signature = await client.content(f"{url}.asc")
    if signature is not None:
        openpgp.verify(file, signature, key, url)


def _reason(pool: Any) -> str:
    return " ".join(pool.errstr.split())


def _primary(solv: Any, repo: Any, url: str) -> RemoteFile:
    """The file of package metadata that repomd.xml names."""
    entries = repo.Dataiterator_meta(
        solv.REPOSITORY_REPOMD_TYPE, "primary", solv.Dataiterator.SEARCH_STRING
    )
    entries.prepend_keyname(solv.REPOSITORY_REPOMD)
    for entry in entries:
        position = entry.parentpos()
        checksum = position.lookup_checksum(solv.REPOSITORY_REPOMD_CHECKSUM)
        return _remote(url, position.lookup_str(solv.REPOSITORY_REPOMD_LOCATION), checksum)
    raise PyindexError(f"{url}repodata/repomd.xml: no list of packages (primary); check the URL")


def _solve(solv: Any, pool: Any, names: Sequence[str]) -> list[Any]:
    """The packages that an empty system would install. Raises PyindexError with all problems."""
    pool.addfileprovides()
    pool.createwhatprovides()
    ours = [each.id for each in pool.solvables if each.arch in _ARCHITECTURES]
    pool.set_considered_list(ours)
    jobs, where = [], ", ".join(repo.name for repo in pool.repos)
    for name in names:
        selection = pool.select(name, solv.Selection.SELECTION_NAME)
        if selection.isempty():
            raise PyindexError(f"{name}: in none of {where}; add a repository that has it")
        # Not an older version whose requirements can be met.
        jobs += selection.jobs(solv.Job.SOLVER_INSTALL | solv.Job.SOLVER_FORCEBEST)

    solver = pool.Solver()
    solver.set_flag(solv.Solver.SOLVER_FLAG_IGNORE_RECOMMENDED, 1)
    if problems := solver.solve(jobs):
        texts = "; ".join(str(problem) for problem in problems)
        raise PyindexError(f"{where}: {texts}; add a repository that has what is missing")
    return list(solver.transaction().newsolvables())


def _file(solv: Any, solvable: Any) -> RemoteFile:
    location, _ = solvable.lookup_location()
    base = solvable.lookup_str(solv.SOLVABLE_MEDIABASE) or solvable.repo.name
    checksum = solvable.lookup_checksum(solv.SOLVABLE_CHECKSUM)
    size = solvable.lookup_num(solv.SOLVABLE_DOWNLOADSIZE)
    return _remote(base, location, checksum, size or None)


def _remote(
    base: str, location: str | None, checksum: Any = None, size: int | None = None
) -> RemoteFile:
    """A file of a repository. Raises PyindexError for a digest that does not protect it; only
    repomd.xml has none."""
    url = urljoin(base if base.endswith("/") else f"{base}/", location or "")
    name = url.rpartition("/")[2]
    if location == "repodata/repomd.xml":
        return RemoteFile(name, url)
    if checksum is None or checksum.typestr() not in _DIGESTS:
        kind = checksum.typestr() if checksum else "none"
        raise PyindexError(f"{url}: expected a digest of SHA-2, got {kind}; use another mirror")
    return RemoteFile(name, url, {checksum.typestr(): checksum.hex()}, size)


async def _fetch_all(
    upstreams: Upstreams, files: Sequence[RemoteFile], directory: Path, report: Report = NO_REPORT
) -> list[Path]:
    """Download files that are not in ``directory``, and verify all. Raises PyindexError with the
    reasons for those that failed."""
    size = sum(file.size or 0 for file in files)

    def progress(count: int, there: int) -> None:
        report.transfer(f"fetching {count} of {counted(len(files), 'package')}", there, size)

    async with Client(upstreams) as client:
        outcomes = await fetch(client, files, directory, progress, check_name=_check_name)
    if reasons := [outcome.reason for outcome in outcomes if isinstance(outcome, Failed)]:
        raise PyindexError("\n".join(reasons))
    return [directory / file.filename for file in files]


def _check_name(name: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise Rejected("not the name of a file")
