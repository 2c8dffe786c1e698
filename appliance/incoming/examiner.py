"""The examiner, a process that examines files. It reads untrusted bytes, so it has limits, and
writes only its answers.

:mod:`appliance.incoming.processes` starts it; :mod:`appliance.incoming.protocol` has the formats of
its work and answers. It ends with the process that started it.
"""

import hashlib
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
from errno import ELOOP, ENOTDIR
from pathlib import Path
from typing import IO

from appliance.errors import Rejected
from appliance.incoming import archive, inspection
from appliance.incoming.beneath import open_beneath
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import Accepted, Changing, Deleted, MetadataRead
from appliance.incoming.protocol import Answer, Limits, Work, encode, rejection, upload_time
from appliance.index.model import Code, File
from appliance.index.names import PROVENANCE, SIGNATURE

_UNLIMITED = resource.RLIM_INFINITY
# Answers are sent when they have so many bytes, and at the end of a chunk of work: waking the
# reader costs more than writing.
_BUFFER_BYTES = 256 * 1024


def main(progress: int) -> None:
    """Examine the files of all work from stdin.

    ``progress`` is a descriptor to which a byte is written before each file, so that the parent
    knows which file the process was examining when it died.
    """
    # The parent decides when it ends, not a signal to all processes of a service or terminal.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.set_blocking(2, False)  # read after the end only; more than a pipe holds is dropped

    waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
    answers = os.dup(1)
    os.dup2(2, 1)  # so that no other output can be mistaken for an answer
    threading.Thread(target=_receive, args=(sys.stdin.buffer, waiting), daemon=True).start()
    while True:
        _examine_all(waiting.get(), progress, answers)


def _receive(stdin: IO[bytes], waiting: "queue.SimpleQueue[Work]") -> None:
    try:
        while True:
            waiting.put(pickle.load(stdin))  # noqa: S301 - from the parent process
    finally:
        os._exit(0)  # the parent has ended or closed the pipe


def _examine_all(work: Work, progress: int, answers: int) -> None:
    """Examine each file of a chunk of work, and send the answers."""
    _limit(resource.RLIMIT_AS, work.limits.memory)
    buffer = b""
    for entry in work.entries:
        _limit(resource.RLIMIT_CPU, _seconds_used() + work.limits.cpu(entry.size))
        os.write(progress, b".")
        buffer += encode(_examine(work, entry))
        if len(buffer) > _BUFFER_BYTES:
            _send(answers, buffer)
            buffer = b""
    _send(answers, buffer)
    _limit(resource.RLIMIT_CPU, _UNLIMITED)


def _send(answers: int, lines: bytes) -> None:
    remaining = memoryview(lines)
    try:
        while remaining:
            remaining = remaining[os.write(answers, remaining) :]
    except OSError:
        os._exit(0)  # mostly since the parent has ended; else it sees that answers are missing


def _limit(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != _UNLIMITED and (value == _UNLIMITED or value > hard):
        value = hard
    resource.setrlimit(limit, (value, hard))


def _seconds_used() -> int:
    return int(time.process_time()) + 1


def _examine(work: Work, entry: Entry) -> Answer:
    """Return the answer for one file, whatever error reading it raises."""
    try:
        return _read(work, entry)

    except archive.UnexpectedError as error:
        trace = "".join(traceback.format_exception(error))
        return Answer(rejection(entry, Code.FAILED, str(error)), trace=trace)
    except inspection.ChangingError:
        return Answer(Changing(entry.path))
    except Rejected as error:
        return Answer(rejection(entry, Code.INVALID, str(error)))
    except FileNotFoundError:
        return Answer(Deleted(entry.path))
    except OSError as error:
        # The error may be temporary, without a change of the file's mtime at its end.
        return Answer(rejection(entry, Code.UNREADABLE, _explain(error), retry=True))
    except MemoryError:
        return Answer(rejection(entry, Code.COSTLY, memory_reason(work.limits)))
    except Exception as error:
        reason = f"cannot be examined: {type(error).__name__}: {error}".removesuffix(": ")
        return Answer(rejection(entry, Code.FAILED, reason), trace=traceback.format_exc())


def _read(work: Work, entry: Entry) -> Answer:
    if entry.problem is not None:
        return Answer(rejection(entry, entry.problem.code, entry.problem.reason))
    with _open(work.root, entry) as file:
        if work.part is not None:
            return Answer(MetadataRead(inspection.read_part(file, _filename(entry), work.part)))
        inspected = inspection.inspect(file, _filename(entry))

    if inspected.size != entry.size:
        return Answer(Changing(entry.path))  # another file than the one that was listed
    metadata = inspected.metadata
    if metadata is None:
        metadata = inspected.unpublished
    accepted = Accepted(_file(work.root, entry, inspected))
    return Answer(accepted, metadata, inspected.notes)


def memory_reason(limits: Limits) -> str:
    return f"examination takes more than {limits.memory >> 20} MiB of memory"


def _open(root: str, entry: Entry) -> IO[bytes]:
    """Open the file. Raises :class:`Rejected` if a pipe or a device has replaced it."""
    descriptor = open_beneath(root, entry.path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Rejected("not a regular file")
    return os.fdopen(descriptor, "rb")


def _filename(entry: Entry) -> str:
    return entry.path.rpartition("/")[2]


def _explain(error: OSError) -> str:
    if error.errno in (ELOOP, ENOTDIR):
        return "symbolic link that leads out of the packages directory"
    return f"cannot be read: {error.strerror}"


def _has_companion(root: str, entry: Entry, ending: str) -> bool:
    path = entry.path + ending
    try:
        if not os.path.lexists(f"{root}/{path}"):
            return False
        return PackagesDirectory(Path(root)).entry(path) is not None
    except OSError:
        return False  # the next scan reports it


def _file(root: str, entry: Entry, inspected: inspection.Inspection) -> File:
    distribution, metadata = inspected.distribution, inspected.metadata
    core_metadata = None if metadata is None else hashlib.sha256(metadata).hexdigest()

    return File(
        path=entry.path,
        filename=distribution.filename,
        project=distribution.project,
        name=inspected.name,
        version=distribution.version,
        kind=distribution.kind,
        python_version=distribution.python_version,
        size=inspected.size,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        sha256=inspected.sha256,
        md5=inspected.md5,
        blake2b_256=inspected.blake2b_256,
        upload_time=upload_time(entry),
        requires_python=inspected.requires_python,
        summary=inspected.summary,
        core_metadata=core_metadata,
        signature=_has_companion(root, entry, SIGNATURE),
        provenance=_has_companion(root, entry, PROVENANCE),
    )
