"""Taking files of upstreams into a packages directory: fetched into a hidden directory in it, where
they are examined while others are still fetched, then placed one by one.

The hidden directory keeps what an interrupted run has fetched, for the next run. Nothing is
replaced: a file of the same name with other bytes is a failure.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.atomic import make_directory, sync_paths, unlink
from appliance.catalog.database import Catalog
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.incoming.ahead import Ahead
from appliance.index.model import File, Origin
from appliance.index.names import PROVENANCE, possible
from appliance.index.patterns import matches
from appliance.locks import try_lock
from appliance.mirror.provenance import fetch_provenance
from appliance.operations import decisions
from appliance.operations.arrival import HIDDEN, link_or_move
from appliance.operations.prune import MIRROR_LOCK
from appliance.operations.update import update
from appliance.spec import Spec
from appliance.text import has_controls
from appliance.upstream import (
    Client,
    Failed,
    Fetched,
    RemoteFile,
    digests,
    fetch,
    urls,
)
from appliance.upstream.fetch import OnProgress, Outcome
from appliance.upstream.urls import without_secrets

_LONGEST = 8000  # characters of a URL

_END = ""  # in the place of a name: no other follows
_UNFINISHED_SECONDS = 7 * 24 * 3600
_UNKNOWN = "not examined yet; see `pyindex status`"


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome: names of new files, what failed, the examinations of new files, and notes."""

    new: tuple[str, ...] = ()
    failed: tuple[Failed, ...] = ()
    ahead: Ahead = field(default_factory=Ahead)
    notes: tuple[str, ...] = ()

    def without(self, rejected: Sequence[Failed]) -> "Taken":
        """Return the outcome with new files that were rejected as failed ones."""
        names = {each.file.filename for each in rejected}
        new = tuple(name for name in self.new if name not in names)
        return replace(self, new=new, failed=(*self.failed, *rejected))


def staging(spec: Spec, index: str) -> Path:
    """The directory of partial files: in the packages directory, where scans skip hidden names, so
    that a file is placed by one rename. `pyindex gc` removes it when it is old."""
    return spec.indexes[index].packages / f"{HIDDEN}mirror"


@contextlib.contextmanager
def locked(spec: Spec) -> Iterator[None]:
    """Hold the lock of all mirror runs of a state directory. Raises :class:`PyindexError` if
    another one is running."""
    make_directory(spec.state)
    with (spec.state / MIRROR_LOCK).open("a") as file:
        if not try_lock(file):
            raise PyindexError(
                f"state directory {spec.state}: another `pyindex mirror` is running; wait until it"
                " has ended"
            )
        yield


def absent(
    spec: Spec, index: str, files: Sequence[RemoteFile]
) -> tuple[list[RemoteFile], list[Failed]]:
    """Return the files that the index lacks, and those that it must not get: it has another content
    of them, had one before, or they are of a private project."""
    new, conflicts = [], []
    there = _files(spec, index, files)
    with Catalog(spec.catalog).read() as reader:
        used = reader.used(index, [file.filename for file in files])
    for file in files:
        known = there.get(file.filename)
        if known is None and (problem := _forbidden(spec, file, used.get(file.filename))):
            conflicts.append(Failed(file, f"{file.filename}: {problem}"))
        elif known is None:
            new.append(file)
        elif _differs(file, known, spec.indexes[index].packages):
            text = f"{file.filename}: the index has other content at {known.path}"
            conflicts.append(Failed(file, text))
    return new, conflicts


def _forbidden(spec: Spec, file: RemoteFile, used: str | None) -> str | None:
    """Return why the policy of the spec forbids to fetch a file, if it does."""
    is_remote = urls.path(file.url) is None  # a wheel that was built here is not
    if is_remote and any(matches(spec.private, project) for project in possible(file.filename)):
        return "its project is private (`policy.private` in the spec): it is not fetched"
    if used is not None and file.sha256 not in (None, used):
        return f"was removed, and had other content (sha256 {used})"
    return None


def _files(spec: Spec, index: str, files: Iterable[RemoteFile]) -> dict[str, File]:
    """Return all files that the index has of the projects of ``files``, by name."""
    # By an ambiguous name a file may belong to more than one project.
    projects = sorted({project for file in files for project in possible(file.filename)})
    with Catalog(spec.catalog).read() as reader:
        found = reader.named(index, projects).values()
    return {file.filename: file for project in found for file in project.files}


def _differs(file: RemoteFile, known: File, packages: Path) -> bool:
    """Whether a file of an index has another content than an upstream states, by the same digest
    that a fetch verifies; without any there is nothing to compare."""
    digest = digests.preferred(file.hashes, file.url)
    if digest is None:
        return False
    algorithm, stated = digest
    cataloged = {"sha256": known.sha256, "md5": known.md5}.get(algorithm)
    return stated != (cataloged or digests.digest_of(packages / known.path, algorithm))


def begin(spec: Spec, index: str) -> None:
    """Bring the index up to date before a run: what a killed run placed is in the catalog then.
    What earlier runs have left unfinished for a week is removed."""
    update(spec)
    for path in staging(spec, index).glob("*.part"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _UNFINISHED_SECONDS:
                unlink(path)


async def take(
    spec: Spec,
    index: str,
    files: Sequence[RemoteFile],
    client: Client,
    progress: OnProgress,
    origins: Mapping[str, str],
) -> Taken:
    """Fetch ``files`` and place them in the packages directory, once their yanks are known. Nothing
    is published yet. ``origins`` are those of files that were built, by SHA-256."""
    new, conflicts = absent(spec, index, files)
    directory = staging(spec, index)
    ahead = Ahead()
    # It is there before the file, so that the examination finds both.
    notes = await fetch_provenance(client, new, directory)
    outcomes = await _fetch(client, new, directory, progress, ahead) if new else []

    packages = spec.indexes[index].packages
    fetched = [each for each in outcomes if isinstance(each, Fetched)]
    free = [each for each in fetched if not os.path.lexists(packages / each.file.filename)]
    _announce(spec, index, free, origins)
    failed = [_of_build(each, origins) for each in conflicts]
    failed += (each for each in outcomes if isinstance(each, Failed))
    placed = []
    for each in fetched:
        problem = _place(each, packages)
        if problem is None:
            placed.append(each.file.filename)
        else:
            failed.append(problem)
    sync_paths([str(packages)])
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)
    return Taken(tuple(placed), tuple(failed), ahead, tuple(notes))


async def _fetch(
    client: Client,
    files: Sequence[RemoteFile],
    directory: Path,
    progress: OnProgress,
    ahead: Ahead,
) -> list[Outcome]:
    """Fetch, and examine what is complete in a thread meanwhile."""
    waiting: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_examine(directory, waiting, ahead))
        outcomes = await fetch(
            client,
            files,
            directory,
            progress,
            fetched=lambda each: waiting.put_nowait(each.path.name),
        )
        waiting.put_nowait(_END)
    return outcomes


async def _examine(directory: Path, waiting: "asyncio.Queue[str]", ahead: Ahead) -> None:
    names: list[str] = []
    try:
        while _END not in names:
            names = [await waiting.get()]
            while not waiting.empty():
                names.append(waiting.get_nowait())
            complete = [name for name in names if name != _END]
            # Intake examines what is left, and says why if it cannot.
            with contextlib.suppress(PyindexError, OSError):
                await asyncio.to_thread(ahead.examine, directory, complete)
    finally:
        ahead.stop()  # for the thread, which is not canceled with this


def _of_build(conflict: Failed, origins: Mapping[str, str]) -> Failed:
    """Say what to do about a file that was built, and of which the index has another content."""
    if conflict.file.sha256 not in origins:
        return conflict
    return replace(conflict, reason=f"{conflict.reason}; give this one another version")


def _place(fetched: Fetched, packages: Path) -> Failed | None:
    """Move a complete file to its name in the packages directory, which must be free, after its
    provenance."""
    target = packages / fetched.file.filename
    try:
        if not os.path.lexists(target):  # else the provenance there is of another file
            with contextlib.suppress(FileNotFoundError):
                Path(f"{fetched.path}{PROVENANCE}").replace(f"{target}{PROVENANCE}")
        link_or_move(str(fetched.path), str(target))
    except FileExistsError:
        text = f"{target}: exists, and is not in the index; see `pyindex status`"
        return Failed(fetched.file, text)
    except OSError as error:
        return Failed(fetched.file, f"{target}: {error.strerror}; run the command again")
    unlink(fetched.path)
    return None


def publish(
    spec: Spec,
    index: str,
    placed: Sequence[RemoteFile],
    ahead: Ahead,
    meanwhile: Callable[[], None],
) -> list[Failed]:
    """Accept what was placed, and publish it. Return those of ``placed`` that the index does not
    accept, each with the reason. ``meanwhile`` is called when the others are in the catalog."""
    update(spec, ahead={index: ahead}, meanwhile=meanwhile)
    there = _files(spec, index, placed)
    absent = [file for file in placed if file.filename not in there]
    with Catalog(spec.catalog).read() as reader:
        paths = [file.filename for file in absent]
        reasons = {each.path: each.reason for each in reader.rejections_at(index, paths)}
    packages = spec.indexes[index].packages
    return [
        Failed(
            file, f"{packages / file.filename}: rejected: {reasons.get(file.filename, _UNKNOWN)}"
        )
        for file in absent
    ]


# --- what is known of files before they are visible -----------------------------------------------


def _announce(
    spec: Spec, index: str, fetched: Sequence[Fetched], origins: Mapping[str, str]
) -> None:
    """Record origins and yanks before the files are placed, so that no moment and no kill shows a
    file without its yank."""
    if not fetched:
        return
    known = [_origin(each, origins) for each in fetched]

    def changes(change: Writer) -> None:
        names = [origin.filename for origin in known]
        yanks, before = change.yanks_of(index, names), change.last_origins(index, names)
        for origin in known:
            last = before.get(origin.filename)
            yanked = yanks.get(origin.filename)
            # Another yank is an operator's decision, which stays.
            if yanked == (last.yanked if last else None) and yanked != origin.yanked:
                change.yank_ahead(index, origin.filename, origin.yanked)
        change.set_origins(index, known)

    decisions.decide(spec, changes)


def _origin(fetched: Fetched, origins: Mapping[str, str]) -> Origin:
    file = fetched.file
    sha256 = file.sha256 or digests.digest_of(fetched.path, "sha256")
    return Origin(
        filename=file.filename,
        sha256=sha256.lower(),
        url=_recordable(origins.get(sha256, file.url)),
        upstream=index_url(file.index) if file.index else None,
        yanked=None if file.yanked is None else one_line(file.yanked),
        provenance=_recordable(file.provenance or "") or None,
    )


def _recordable(url: str) -> str:
    """Return a URL without secrets; "" for one that no bundle could carry."""
    plain = without_secrets(url)
    return "" if len(plain) > _LONGEST or has_controls(plain) else plain


def index_url(url: str) -> str:
    """The URL of an index as it is compared: without secrets, with a slash at the end."""
    return without_secrets(url).rstrip("/") + "/"


def one_line(reason: str) -> str:
    """Return the reason of a yank on one line, without control characters."""
    return " ".join("".join(" " if has_controls(char) else char for char in reason).split())
