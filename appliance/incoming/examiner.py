"""The process that looks at files: it reads what strangers wrote, so it has limits and no power.

:mod:`appliance.incoming.examine` starts it, gives it work as pickles, and reads answers in JSON: an
answer can say anything, and do nothing. It ends with whoever started it.
"""

import base64
import hashlib
import json
import os
import pickle
import queue
import resource
import signal
import stat
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from errno import ELOOP, ENOTDIR
from typing import IO, Any

from appliance.atomic import Batch, unlink
from appliance.errors import PyindexError, Refused
from appliance.incoming import archive
from appliance.incoming.directory import Entry, Folder, open_beneath
from appliance.index.names import SIGNATURE
from appliance.site.tree import Site

_UNLIMITED = resource.RLIM_INFINITY


@dataclass(frozen=True, slots=True)
class Limits:
    """What looking at one file may cost: seconds of CPU and of waiting, more for large files, and
    bytes of memory."""

    cpu_seconds: int = 20
    cpu_bytes_a_second: int = 4_000_000
    wait_seconds: float = 120
    wait_bytes_a_second: int = 1_000_000
    memory: int = 1 << 30

    def cpu(self, size: int) -> int:
        return self.cpu_seconds + size // self.cpu_bytes_a_second

    def wait(self, size: int) -> float:
        return self.wait_seconds + size / self.wait_bytes_a_second


@dataclass(frozen=True, slots=True)
class Work:
    """Files of one folder to look at in turn; their metadata is ``durable`` when that is told.
    With ``metadata_only`` nothing is written, and the answer is the metadata."""

    folder: Folder
    site: Site
    index: str
    entries: list[Entry]
    durable: bool
    limits: Limits
    metadata_only: bool = False


def main(progress: int) -> None:
    """Do work from stdin until it ends; ``progress`` is a descriptor that gets a byte for each
    file that is begun, so that it is known at which one this process came to its end."""
    # Who started it decides when it ends, not a signal to all processes of a service or terminal.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.set_blocking(2, False)  # nobody reads it before the end: what is too much is lost
    waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
    answers = os.dup(1)
    os.dup2(2, 1)  # so that nothing that is printed is taken for an answer
    threading.Thread(target=_receive, args=(sys.stdin.buffer, waiting), daemon=True).start()
    while True:
        _send(answers, _do(waiting.get(), progress))


def _receive(stdin: IO[bytes], waiting: "queue.SimpleQueue[Work]") -> None:
    try:
        while True:
            waiting.put(pickle.load(stdin))  # noqa: S301 - of the process that started this one
    finally:
        os._exit(0)  # it is gone, or wants this to end, in the midst of whatever it is


def _send(answers: int, answer: object) -> None:
    rest = memoryview(json.dumps(answer).encode() + b"\n")
    try:
        while rest:
            rest = rest[os.write(answers, rest) :]
    except BrokenPipeError:
        os._exit(0)  # nobody waits for it any more


def _do(work: Work, progress: int) -> dict[str, Any]:
    """Look at each file; an answer for each, or the error of the disk that the metadata is for."""
    _limit(resource.RLIMIT_AS, work.limits.memory)
    try:
        with work.site.batch(work.durable) as batch:
            answers = []
            for entry in work.entries:
                _limit(resource.RLIMIT_CPU, _seconds_used() + work.limits.cpu(entry.size))
                os.write(progress, b".")
                answers.append(_examine(work, entry, batch))
    except OSError as error:
        return {"error": [error.errno, error.strerror, error.filename]}
    except PyindexError as error:
        return {"error": str(error)}
    finally:
        _limit(resource.RLIMIT_CPU, _UNLIMITED)
    return {"answers": answers}


def _limit(what: int, value: int) -> None:
    _, most = resource.getrlimit(what)
    if most != _UNLIMITED and (value == _UNLIMITED or value > most):
        value = most
    resource.setrlimit(what, (value, most))


def _seconds_used() -> int:
    return int(time.process_time()) + 1


def _examine(work: Work, entry: Entry, batch: Batch) -> list[Any]:
    """The answer for one file: its first word says what the rest is."""
    try:
        if entry.problem is not None:
            raise Refused(entry.problem)
        with _open(work.folder, entry) as file:
            if work.metadata_only:
                raw = archive.read_metadata(file, _filename(entry))
                return ["metadata", None if raw is None else base64.b64encode(raw).decode()]
            found = archive.inspect(file, _filename(entry))
    except archive.Changing:
        return ["changing"]
    except FileNotFoundError:
        return ["gone"]
    except archive.Unexpected as error:
        return ["refused", str(error), False, "".join(traceback.format_exception(error))]
    except Refused as error:
        return ["refused", str(error), False, None]
    except OSError as error:
        # It may pass, and no time of the file tell it: so that this is never taken for known.
        return ["refused", _explain(error), True, None]
    except MemoryError:
        return ["refused", memory_reason(work.limits), False, None]
    except Exception as error:
        reason = f"cannot be examined: {type(error).__name__}: {error}".removesuffix(": ")
        return ["refused", reason, False, traceback.format_exc()]
    if found.size != entry.size:
        return ["changing"]  # another file than the one that was seen
    _keep_metadata(work, entry, found, batch)
    return ["file", _facts(found, _is_signed(work.folder, entry)), found.notes]


def memory_reason(limits: Limits) -> str:
    return f"examining it takes more than {limits.memory >> 20} MiB of memory"


def _open(folder: Folder, entry: Entry) -> IO[bytes]:
    """The file, if it is one: a pipe or a link may have come in its place since it was seen."""
    descriptor = open_beneath(str(folder.root), entry.path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused("not a regular file")
    return os.fdopen(descriptor, "rb")


def _filename(entry: Entry) -> str:
    return entry.path.rpartition("/")[2]


def _explain(error: OSError) -> str:
    if error.errno in (ELOOP, ENOTDIR):
        return "a symbolic link that leaves the packages directory"
    return f"cannot be read: {error.strerror}"


def _keep_metadata(work: Work, entry: Entry, found: archive.Inspection, batch: Batch) -> None:
    aside = work.site.unpublished_metadata(work.index, entry.path)
    if found.metadata is not None:
        batch.write_unseen(work.site.metadata(work.index, entry.path), found.metadata)
    elif found.unpublished is not None:
        batch.write_unseen(aside, found.unpublished)
    else:
        unlink(aside)  # of another file at this path


def _is_signed(folder: Folder, entry: Entry) -> bool:
    path = entry.path + SIGNATURE
    try:
        return os.path.lexists(f"{folder.root}/{path}") and folder.entry(path) is not None
    except OSError:
        return False  # the next look at the folder tells it


def _facts(found: archive.Inspection, signed: bool) -> dict[str, Any]:
    """What the file says of itself; who asked knows where it is and when it was written."""
    distribution, metadata = found.distribution, found.metadata
    return {
        "filename": distribution.filename,
        "project": distribution.project,
        "name": found.name,
        "version": distribution.version,
        "kind": distribution.kind,
        "python_version": distribution.python_version,
        "size": found.size,
        "sha256": found.sha256,
        "md5": found.md5,
        "blake2b_256": found.blake2b_256,
        "requires_python": found.requires_python,
        "summary": found.summary,
        "signature": signed,
        "core_metadata": None if metadata is None else hashlib.sha256(metadata).hexdigest(),
    }
