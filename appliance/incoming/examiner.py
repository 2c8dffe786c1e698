"""The process that examines files: it reads what strangers wrote, so it has limits, and writes
nothing but its answers.

:mod:`appliance.incoming.processes` starts it; :mod:`appliance.incoming.protocol` says what goes in
and out. It ends with whoever started it.
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
from appliance.incoming import archive
from appliance.incoming.beneath import open_beneath
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import Accepted, Changing, Gone, MetadataRead
from appliance.incoming.protocol import Answer, Limits, Work, encode, rejection, upload_time
from appliance.index.model import Code, File
from appliance.index.names import SIGNATURE

_UNLIMITED = resource.RLIM_INFINITY
# Answers are sent together up to so many bytes, and with the last of a portion of work: to wake
# whoever reads them costs more than to write them.
_TOGETHER_BYTES = 256 * 1024


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
        _examine_all(waiting.get(), progress, answers)


def _receive(stdin: IO[bytes], waiting: "queue.SimpleQueue[Work]") -> None:
    try:
        while True:
            waiting.put(pickle.load(stdin))  # noqa: S301 - of the process that started this one
    finally:
        os._exit(0)  # it is gone, or wants this to end, in the midst of whatever it is


def _examine_all(work: Work, progress: int, answers: int) -> None:
    """Examine each file of a portion of work, and answer for it."""
    _limit(resource.RLIMIT_AS, work.limits.memory)
    together = b""
    for entry in work.entries:
        _limit(resource.RLIMIT_CPU, _seconds_used() + work.limits.cpu(entry.size))
        os.write(progress, b".")
        together += encode(_examine(work, entry))
        if len(together) > _TOGETHER_BYTES:
            _send(answers, together)
            together = b""
    _send(answers, together)
    _limit(resource.RLIMIT_CPU, _UNLIMITED)


def _send(answers: int, lines: bytes) -> None:
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[os.write(answers, rest) :]
    except BrokenPipeError:
        os._exit(0)  # nobody waits for it any more


def _limit(what: int, value: int) -> None:
    _, most = resource.getrlimit(what)
    if most != _UNLIMITED and (value == _UNLIMITED or value > most):
        value = most
    resource.setrlimit(what, (value, most))


def _seconds_used() -> int:
    return int(time.process_time()) + 1


def _examine(work: Work, entry: Entry) -> Answer:
    """The answer for one file, whatever it does to whoever reads it."""
    try:
        return _read(work, entry)
    except archive.UnexpectedError as error:
        trace = "".join(traceback.format_exception(error))
        return Answer(rejection(entry, Code.FAILED, str(error)), trace=trace)
    except archive.ChangingError:
        return Answer(Changing(entry.path))
    except Rejected as error:
        return Answer(rejection(entry, Code.INVALID, str(error)))
    except FileNotFoundError:
        return Answer(Gone(entry.path))
    except OSError as error:
        # It may pass, and no time of the file tell it.
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
        if work.metadata_only:
            return Answer(MetadataRead(archive.read_metadata(file, _filename(entry))))
        inspection = archive.inspect(file, _filename(entry))

    if inspection.size != entry.size:
        return Answer(Changing(entry.path))  # another file than the one that was seen
    metadata = inspection.metadata
    if metadata is None:
        metadata = inspection.unpublished
    accepted = Accepted(_file(work.root, entry, inspection))
    return Answer(accepted, metadata, inspection.notes)


def memory_reason(limits: Limits) -> str:
    return f"examination takes more than {limits.memory >> 20} MiB of memory"


def _open(root: str, entry: Entry) -> IO[bytes]:
    """The file, if it is one: a pipe or a link may have come in its place since it was seen."""
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


def _is_signed(root: str, entry: Entry) -> bool:
    path = entry.path + SIGNATURE
    try:
        if not os.path.lexists(f"{root}/{path}"):
            return False
        return PackagesDirectory(Path(root)).entry(path) is not None
    except OSError:
        return False  # the next scan tells it


def _file(root: str, entry: Entry, inspection: archive.Inspection) -> File:
    distribution, metadata = inspection.distribution, inspection.metadata
    return File(
        path=entry.path,
        filename=distribution.filename,
        project=distribution.project,
        name=inspection.name,
        version=distribution.version,
        kind=distribution.kind,
        python_version=distribution.python_version,
        size=inspection.size,
        mtime_ns=entry.mtime_ns,
        inode=entry.inode,
        sha256=inspection.sha256,
        md5=inspection.md5,
        blake2b_256=inspection.blake2b_256,
        upload_time=upload_time(entry),
        requires_python=inspection.requires_python,
        summary=inspection.summary,
        core_metadata=None if metadata is None else hashlib.sha256(metadata).hexdigest(),
        signature=_is_signed(root, entry),
    )
