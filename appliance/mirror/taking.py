"""Taking files of upstreams into a packages directory: fetched into a hidden directory in it, then
placed one by one.

The hidden directory keeps what an interrupted run has fetched, for the next run. Nothing is
replaced: a file of the same name with other bytes is a failure.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import Batch, make_directory, sync_paths, unlink
from appliance.catalog.database import Catalog
from appliance.errors import NotFound, PyindexError
from appliance.index.model import File
from appliance.index.names import possible
from appliance.locks import try_lock
from appliance.operations import decisions
from appliance.operations.arrival import HIDDEN, link_or_move
from appliance.operations.update import update
from appliance.spec import Spec
from appliance.text import has_controls
from appliance.upstream import Client, Failed, Fetched, RemoteFile, digests, fetch
from appliance.upstream.fetch import OnProgress

_UNFINISHED_SECONDS = 7 * 24 * 3600
_UNKNOWN = "not examined yet; see `pyindex status`"


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome: names of new files, and what failed."""

    new: tuple[str, ...]
    failed: tuple[Failed, ...]

    def without(self, rejected: Sequence[Failed]) -> "Taken":
        """Return the outcome with new files that were rejected as failed ones."""
        names = {each.file.filename for each in rejected}
        new = tuple(name for name in self.new if name not in names)
        return Taken(new, (*self.failed, *rejected))


def staging(spec: Spec, index: str) -> Path:
    """The directory of partial files: in the packages directory, where scans skip hidden names, so
    that a file is placed by one rename. `pyindex gc` removes it when it is old."""
    return spec.indexes[index].packages / f"{HIDDEN}mirror"


@contextlib.contextmanager
def locked(spec: Spec) -> Iterator[None]:
    """Hold the lock of all mirror runs of a state directory. Raises :class:`PyindexError` if
    another one is running."""
    make_directory(spec.state)
    with (spec.state / "mirror.lock").open("a") as file:
        if not try_lock(file):
            raise PyindexError(
                f"state directory {spec.state}: another `pyindex mirror` is running; wait until it"
                " has ended"
            )
        yield


def absent(
    spec: Spec, index: str, files: Sequence[RemoteFile]
) -> tuple[list[RemoteFile], list[Failed]]:
    """Return the files that the index lacks, and those of which it has another content."""
    new, conflicts = [], []
    there = _files(spec, index, files)
    for file in files:
        known = there.get(file.filename)
        if known is None:
            new.append(file)
        elif _differs(file, known, spec.indexes[index].packages):
            text = f"{file.filename}: the index has other content at {known.path}"
            conflicts.append(Failed(file, text))
    return new, conflicts


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
    """Bring the index up to date before a run: what a killed run placed is in the catalog then, and
    yanked if it has to be. What earlier runs have left unfinished for a week is removed."""
    update(spec)
    _yank_pending(spec, index)
    for path in staging(spec, index).glob("*.part"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _UNFINISHED_SECONDS:
                unlink(path)


async def take(
    spec: Spec, index: str, files: Sequence[RemoteFile], client: Client, progress: OnProgress
) -> Taken:
    """Fetch ``files`` and place them in the packages directory. Nothing is published yet."""
    new, conflicts = absent(spec, index, files)
    directory = staging(spec, index)
    outcomes = await fetch(client, new, directory, progress) if new else []

    _write_pending(spec, index, new)
    failed = [*conflicts, *(each for each in outcomes if isinstance(each, Failed))]
    placed = []
    for each in outcomes:
        if isinstance(each, Fetched):
            problem = _place(each, spec.indexes[index].packages)
            if problem is None:
                placed.append(each.file.filename)
            else:
                failed.append(problem)
    sync_paths([str(spec.indexes[index].packages)])
    if not failed:
        shutil.rmtree(directory, ignore_errors=True)
    return Taken(tuple(placed), tuple(failed))


def _place(fetched: Fetched, packages: Path) -> Failed | None:
    """Move a complete file to its name in the packages directory, which must be free."""
    target = packages / fetched.file.filename
    try:
        link_or_move(str(fetched.path), str(target))
    except FileExistsError:
        text = f"{target}: exists, and is not in the index; see `pyindex status`"
        return Failed(fetched.file, text)
    except OSError as error:
        return Failed(fetched.file, f"{target}: {error.strerror}; run the command again")
    unlink(fetched.path)
    return None


def publish(spec: Spec, index: str, placed: Iterable[RemoteFile]) -> list[Failed]:
    """Accept what was placed, publish it, and yank what is yanked upstream. Return those of
    ``placed`` that the index does not accept, each with the reason."""
    update(spec)
    _yank_pending(spec, index)
    with Catalog(spec.catalog).read() as reader:
        absent = [file for file in placed if reader.file(index, file.filename) is None]
        paths = [file.filename for file in absent]
        reasons = {each.path: each.reason for each in reader.rejections_at(index, paths)}
    packages = spec.indexes[index].packages
    return [
        Failed(
            file, f"{packages / file.filename}: rejected: {reasons.get(file.filename, _UNKNOWN)}"
        )
        for file in absent
    ]


# --- yanks of files that are being taken ---------------------------------------------------------


def _pending(spec: Spec, index: str) -> Path:
    return spec.state / f"mirror-yanks-{index}.json"


def _write_pending(spec: Spec, index: str, files: Iterable[RemoteFile]) -> None:
    """Note the reasons of yanks before the files are placed: a killed run loses none of them."""
    yanks = {file.filename: file.yanked for file in files if file.yanked is not None}
    if yanks:
        with Batch() as batch:
            all_yanks = _read_pending(spec, index) | yanks
            batch.write(_pending(spec, index), json.dumps(all_yanks).encode())


def _read_pending(spec: Spec, index: str) -> dict[str, str]:
    try:
        yanks: dict[str, str] = json.loads(_pending(spec, index).read_bytes())
    except FileNotFoundError:
        return {}
    return yanks


def _yank_pending(spec: Spec, index: str) -> None:
    for name, reason in _read_pending(spec, index).items():
        # A file that could not be fetched, or was rejected: `pyindex status` says why.
        with contextlib.suppress(NotFound):
            decisions.yank(spec, index, name, _one_line(reason))
    unlink(_pending(spec, index))


def _one_line(reason: str) -> str:
    """Return the reason of a yank on one line, without control characters."""
    return " ".join("".join(" " if has_controls(char) else char for char in reason).split())
