"""Examination in processes with limits: a hostile file costs no other file."""

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from appliance.catalog.database import Catalog
from appliance.catalog.metadata import KeptMetadata
from appliance.errors import PyindexError, Rejected
from appliance.incoming import examiner, inspection, postponed, processes
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.entries import Entry
from appliance.incoming.examine import LIMITS, examine_all, read_metadata
from appliance.incoming.intake import Intake
from appliance.incoming.outcomes import Accepted, Changing, Outcome, Pending
from appliance.incoming.protocol import Answer, Limits, Work, rejection
from appliance.incoming.scan import Scanner
from appliance.index.model import Code, File, Rejection
from appliance.site.tree import Site
from tests.attacks.files import (
    HOSTILE,
    METADATA,
    SDIST,
    WHEEL,
    a_tar,
    a_wheel,
    a_zip,
    wheel,
    wheel_members,
)
from tests.conftest import Lab, eventually
from tests.dist import make_sdist, make_wheel

PATIENT = Limits(cpu_seconds=10_000, wait_seconds=10_000, memory=4 << 30)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    processes.close_idle()
    yield
    processes.close_idle()


class Examination:
    """Entries of a lab's packages directory, examined."""

    def __init__(self, lab: Lab, limits: Limits = LIMITS) -> None:
        self.directory, self.limits = PackagesDirectory(lab.packages), limits
        self.outcomes: list[Outcome] = []
        self.metadata: dict[str, bytes | None] = {}

    def of(self, *entries: Entry) -> "Examination":
        every = list(entries) or list(self.directory.walk())
        with examine_all(self.directory, every, self.keep, self.limits) as outcomes:
            self.outcomes = [each for each in outcomes if not isinstance(each, Pending)]
        return self

    def keep(self, file: File, metadata: bytes | None) -> None:
        self.metadata[file.path] = metadata

    @property
    def accepted(self) -> list[str]:
        return [each.file.path for each in self.outcomes if isinstance(each, Accepted)]

    @property
    def rejected(self) -> dict[str, str]:
        return {each.path: each.reason for each in self.outcomes if isinstance(each, Rejection)}

    def rejection(self) -> Rejection:
        [found] = [each for each in self.outcomes if isinstance(each, Rejection)]
        return found


def children() -> list[int]:
    """The processes that this one started to examine files, and that run."""
    # Copied in one step: the thread that examines may just be starting one.
    known = [reference() for reference in vars(processes._all)["data"].copy()]
    return [child.pid for child in known if child is not None and _runs(child.pid)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def endless(lab: Lab, name: str = "slow-1.0.tar.gz") -> Path:
    """A file that takes its reader very long, and nothing of the disk: it is one hole."""
    path = lab.packages / name
    with path.open("wb") as file:
        os.truncate(file.fileno(), 1 << 34)
    return path


def at_work(path: Path) -> Callable[[], object]:
    """Whether a process has the file open, and which."""

    def find() -> int | None:
        for pid in children():
            for link in Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    if link.readlink() == path:
                        return pid
                except OSError:
                    continue
        return None

    return find


def worker(path: Path) -> int:
    """The process that is at the file, as soon as there is one."""
    find = at_work(path)
    found: list[object] = []
    eventually(lambda: found.append(find()) or found[-1])  # type: ignore[func-returns-value]
    assert isinstance(found[-1], int)
    return found[-1]


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.integration
def test_costly_file_is_rejected(lab: Lab) -> None:
    """A file beyond the CPU limit is rejected; the other files of its chunk are accepted."""
    make_wheel(lab.packages, "aaa", "1.0")
    endless(lab)
    make_wheel(lab.packages, "zzz", "1.0")
    found = Examination(lab, replace(PATIENT, cpu_seconds=1, cpu_bytes_a_second=1 << 50)).of()
    assert found.rejected == {"slow-1.0.tar.gz": "examination takes more than 1 s of CPU"}
    assert found.accepted == ["aaa-1.0-py2.py3-none-any.whl", "zzz-1.0-py2.py3-none-any.whl"]


@pytest.mark.integration
def test_file_beyond_memory_limit_is_rejected(lab: Lab) -> None:
    """A file beyond the memory limit is rejected."""
    many = {f"foo/{number:06}": b"" for number in range(190_000)}
    a_zip(lab.packages / WHEEL, {**wheel_members(), **many})
    make_wheel(lab.packages, "zzz", "1.0")
    found = Examination(lab, replace(PATIENT, memory=200 << 20)).of()
    assert found.rejected == {WHEEL: "examination takes more than 200 MiB of memory"}
    assert found.accepted == ["zzz-1.0-py2.py3-none-any.whl"]


def test_stalled_file_is_rejected_for_now(lab: Lab) -> None:
    """A file whose examiner hangs is rejected for now, and examined again by the next scan."""
    path = endless(lab)
    make_wheel(lab.packages, "zzz", "1.0")
    found = Examination(lab, replace(PATIENT, wait_seconds=2, wait_bytes_a_second=1 << 50))
    looking = threading.Thread(target=found.of)
    looking.start()
    os.kill(worker(path), signal.SIGSTOP)
    looking.join()
    assert found.rejected == {
        path.name: "examination takes more than 2 s: the disk may not respond"
    }
    assert (found.rejection().code, found.rejection().retry) == (Code.STALLED, True)
    assert found.accepted == ["zzz-1.0-py2.py3-none-any.whl"]


@pytest.mark.integration
def test_hostile_files_do_not_stop_others(lab: Lab) -> None:
    """Hostile files are rejected for their own reasons, within the limits; a good file is
    accepted."""
    for number, hostile in enumerate(HOSTILE):
        directory = lab.packages / f"{number:03}"
        directory.mkdir()
        hostile.write(directory)
    make_wheel(lab.packages, "good", "1.0")
    lab.once()
    refused = lab.refused()
    wrong = {
        hostile.name: refused.get(f"{number:03}/{hostile.filename}")
        for number, hostile in enumerate(HOSTILE)
        if hostile.reason not in refused.get(f"{number:03}/{hostile.filename}", "")
    }
    assert wrong == {}
    assert lab.files("good")


# --- processes that are killed -------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 200])
def test_killed_examiner_costs_no_file(lab: Lab, count: int) -> None:
    """The file of a killed examiner is examined again."""
    path = endless(lab, "aaa-1.0.tar.gz")
    for number in range(count):
        make_wheel(lab.packages, f"foo{number:03}", "1.0")
    found = Examination(lab, PATIENT)
    looking = threading.Thread(target=found.of)
    looking.start()
    first = worker(path)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: at_work(path)() not in (None, first))
    path.write_bytes(make_sdist(lab.packages.parent, "aaa", "1.0").read_bytes())
    looking.join()
    # It changed during the examination, and is examined again later.
    assert found.outcomes[0] == Changing(path.name)
    assert len(found.accepted) == count


def test_file_is_rejected_after_two_kills(lab: Lab) -> None:
    """A file whose examiner is killed twice is rejected, and examined again later."""
    path = endless(lab)
    make_wheel(lab.packages, "zzz", "1.0")
    found = Examination(lab, PATIENT)
    looking = threading.Thread(target=found.of)
    looking.start()
    first = worker(path)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: at_work(path)() not in (None, first))
    os.kill(worker(path), signal.SIGKILL)
    looking.join()
    (reason,) = found.rejected.values()
    assert reason.startswith("examiner killed twice (SIGKILL); free some memory")
    assert (found.rejection().code, found.rejection().retry) == (Code.KILLED, True)
    assert found.accepted == ["zzz-1.0-py2.py3-none-any.whl"]


def killed(lab: Lab) -> None:
    """Record in the catalog that the examiners of all files were killed."""
    with Catalog(lab.spec.catalog, create=True).change() as change:
        for entry in PackagesDirectory(lab.packages).walk():
            change.reject(lab.index, [rejection(entry, Code.KILLED, "killed", retry=True)])


def test_killed_file_is_accepted_at_next_start(lab: Lab) -> None:
    """A file whose examiner was killed is accepted at the next start without a change."""
    os.utime(make_wheel(lab.packages, "foo", "1.0"), (1e9, 1e9))
    killed(lab)
    with lab.watched():
        eventually(lambda: lab.files("foo"))


def test_killed_file_is_retried_with_growing_pauses(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher examines a file whose examiner was killed after growing pauses, or when it is
    touched."""
    path = make_wheel(lab.packages, "foo", "1.0")
    os.utime(path, (1e9, 1e9))
    looked: list[str] = []

    def accept(self: Intake, entries: list[Entry], *_: object) -> Iterator[list[str]]:
        looked.extend(entry.path for entry in entries)
        return iter(())

    monkeypatch.setattr(Intake, "accept", accept)
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time=time.time)
    monkeypatch.setattr(postponed, "time", clock)
    killed(lab)
    scanner = Scanner(lab.spec, lab.catalog, lab.index)
    times = []
    for minute in range(70):
        now[0] = minute * 60.0
        list(scanner.scan())
        if looked:
            times.append(minute)
            looked.clear()
    assert times == [0, 1, 3, 7, 15, 31, 63]
    os.utime(path, (1e9, 2e9))
    list(scanner.scan())
    assert looked == [path.name]


def test_dead_idle_examiner_is_replaced(lab: Lab) -> None:
    """An idle examiner that died is replaced."""
    make_wheel(lab.packages, "foo", "1.0")
    Examination(lab).of()
    [kept] = children()
    Examination(lab).of()
    assert children() == [kept]
    os.kill(kept, signal.SIGKILL)
    assert Examination(lab).of().accepted == ["foo-1.0-py2.py3-none-any.whl"]


def test_closed_examiner_is_not_reused(lab: Lab) -> None:
    """An examiner whose pipes the garbage collector closed is not used again."""
    make_wheel(lab.packages, "foo", "1.0")

    def leave(look: Examination) -> None:
        entries = list(look.directory.walk())
        work = examine_all(look.directory, entries, look.keep, PATIENT)
        outcomes = work.__enter__()
        while isinstance(next(outcomes), Pending):
            pass
        cycle: list[object] = [work, outcomes]
        cycle.append(cycle)

    leave(Examination(lab))
    gc.collect()
    assert Examination(lab).of().accepted == ["foo-1.0-py2.py3-none-any.whl"]


def test_watcher_survives_killed_examiners(lab: Lab) -> None:
    """A watcher accepts files after its examiners were killed."""
    with lab.watched():
        make_wheel(lab.packages, "foo", "1.0")
        eventually(lambda: lab.files("foo"))
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        make_wheel(lab.packages, "bar", "1.0")
        eventually(lambda: lab.files("bar"))


def test_watcher_stops_with_hanging_examiner(lab: Lab) -> None:
    """A watcher stops even while an examiner hangs."""
    with lab.watched():
        path = endless(lab)
        os.utime(path, (1, 1))
        pid = worker(path)
    assert not _runs(pid)


PARENT = """
import os, sys, time
from pathlib import Path
from appliance.incoming import processes
from appliance.incoming.examine import examine_all
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.outcomes import Pending
directory = PackagesDirectory(Path(sys.argv[1]))
with examine_all(directory, list(directory.walk()), lambda *_: None) as outcomes:
    for each in outcomes:
        if not isinstance(each, Pending) or sys.argv[2] == "busy":
            print(*[process.pid for process in processes._all], flush=True)
            if sys.argv[2] == "forked" and os.fork() == 0:
                print(os.getpid(), flush=True)
                os.close(1)
                time.sleep(600)
            os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["idle", "busy", "forked"])
def test_examiner_ends_with_parent(lab: Lab, how: str) -> None:
    """An examiner ends with its parent, also if that is killed and a fork of it is alive."""
    if how == "busy":
        endless(lab)
    else:
        make_wheel(lab.packages, "foo", "1.0")
    run = subprocess.run(
        [sys.executable, "-c", PARENT, str(lab.packages), how],
        stdout=subprocess.PIPE,
        check=False,
        start_new_session=True,
    )
    pid, *forks = map(int, run.stdout.split())
    eventually(lambda: not _runs(pid))
    for fork in forks:
        os.kill(fork, signal.SIGKILL)
    assert len(forks) == (how == "forked")


def test_examiner_imports_nothing_from_working_directory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An examiner imports no module from the packages directory or the working directory."""
    for name in ("zipfile", "json", "pickle", "appliance", "packaging", "sitecustomize"):
        (lab.packages / f"{name}.py").write_text("open('/dev/stderr', 'w').write('run!'); 1 / 0\n")
    make_wheel(lab.packages, "foo", "1.0")
    monkeypatch.chdir(lab.packages)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert Examination(lab).of().accepted == ["foo-1.0-py2.py3-none-any.whl"]
    [child] = children()
    assert Path(f"/proc/{child}/cwd").readlink() == Path("/")


def test_failing_start_is_reported(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An examiner that cannot start is retried, then reported with the system's error and without a
    traceback; no file is rejected."""
    make_wheel(lab.packages, "foo", "1.0")
    monkeypatch.setattr(processes, "_PROGRAM", "import os; os.mkdir('/proc/no')")
    with pytest.raises(PyindexError, match="does not start") as raised:
        Examination(lab).of()
    assert "No such file or directory: '/proc/no'" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "null",
        '{"kind": "accepted", "notes": []}',
        '{"kind": "accepted", "notes": [], "file": {}}',
        '{"kind": "other", "notes": []}',
        '{"kind": "rejected", "notes": [], "code": "else", "reason": "", "retry": false}',
        '{"kind": "gone"}',
    ],
)
def test_invalid_answer_replaces_examiner(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """An examiner with an invalid answer is replaced, and no file is accepted."""
    make_wheel(lab.packages, "foo", "1.0")
    monkeypatch.setattr(
        processes,
        "_PROGRAM",
        f"import os, sys; os.write(int(sys.argv[1]), b'.'); print({answer!r})",
    )
    assert "examiner killed" in Examination(lab).of().rejection().reason


# --- replaced files ------------------------------------------------------------------------------


def test_replacement_of_file_is_rejected(lab: Lab) -> None:
    """A pipe, a directory or a symbolic link out of the packages directory that replaces a file is
    rejected."""
    secret = make_wheel(lab.packages.parent, "secret", "1.0")
    entries = []
    for name in ("pipe", "link", "folder", "within"):
        path = make_wheel(lab.packages, name, "1.0")
        entries += list(PackagesDirectory(lab.packages).entries(path.name))
        if name != "within":
            path.unlink()
    pipe, link, folder, within = [lab.packages / entry.path for entry in entries]
    os.mkfifo(pipe)
    link.symlink_to(secret)
    folder.mkdir()
    (lab.packages / "sub").mkdir()
    within.rename(lab.packages / "sub" / within.name)
    within.symlink_to(lab.packages / "sub" / within.name)
    found = Examination(lab).of(*entries)
    assert found.rejected == {
        pipe.name: "not a regular file",
        link.name: "symbolic link that leads out of the packages directory",
        folder.name: "not a regular file",
    }
    assert found.accepted == [within.name]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, "Input/output error"), "cannot be read: Input/output error"),
        (OSError(errno.ESTALE, "Stale file handle"), "cannot be read: Stale file handle"),
        (OSError(errno.EACCES, "Permission denied"), "cannot be read: Permission denied"),
    ],
)
def test_disk_error_is_retried(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    """A file with a disk error is rejected and examined again by each scan."""
    answer, entry = answer_of(lab, monkeypatch, error)
    assert answer == Answer(rejection(entry, Code.UNREADABLE, reason, retry=True))


@pytest.mark.parametrize("error", [IndexError("x"), KeyError("y"), RecursionError(), SystemError()])
def test_unexpected_error_is_logged_with_traceback(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A file with an unexpected error is rejected, and the traceback logged."""
    answer, _ = answer_of(lab, monkeypatch, error)
    assert isinstance(answer.outcome, Rejection)
    assert (answer.outcome.code, answer.outcome.retry) == (Code.FAILED, False)
    assert answer.outcome.reason.startswith(f"cannot be examined: {type(error).__name__}")
    assert "raise error" in str(answer.trace)


def answer_of(lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[Answer, Entry]:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(inspection, "inspect", fail)
    make_wheel(lab.packages, "foo", "1.0")
    [entry] = PackagesDirectory(lab.packages).walk()
    return examiner._examine(Work(str(lab.packages), [entry], LIMITS), entry), entry


def test_full_state_directory_rejects_no_file(lab: Lab) -> None:
    """A full disk of the state directory is reported and retried; no file is rejected."""
    make_wheel(lab.packages, "foo", "1.0")
    place = Path(KeptMetadata(lab.spec.state).path(lab.index, "x")).parent
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("in the way")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        lab.once()
    assert lab.refused() == {}


# --- metadata ------------------------------------------------------------------------------------


def test_metadata_is_kept_for_each_file(lab: Lab) -> None:
    """Metadata is published or kept for each file, so that no request opens an archive."""
    make_wheel(lab.packages, "foo", "1.0")
    make_sdist(lab.packages, "foo", "1.0")
    a_tar(lab.packages / "old-1.0.tar.gz", {"old-1.0/setup.py": b""})
    lab.once()
    published, aside = Site(lab.spec).metadata, KeptMetadata(lab.spec.state).path
    kept = {
        name: [Path(place(lab.index, name)).exists() for place in (published, aside)]
        for name in ("foo-1.0-py2.py3-none-any.whl", "foo-1.0.tar.gz", "old-1.0.tar.gz")
    }
    assert kept == {
        "foo-1.0-py2.py3-none-any.whl": [True, False],
        "foo-1.0.tar.gz": [False, True],
        "old-1.0.tar.gz": [False, False],
    }
    (lab.packages / "foo-1.0.tar.gz").write_bytes((lab.packages / "old-1.0.tar.gz").read_bytes())
    lab.once()
    assert not Path(aside(lab.index, "foo-1.0.tar.gz")).exists()


def test_read_metadata_uses_examiner(lab: Lab) -> None:
    """Lost metadata is read again by an examiner, byte for byte, or an error gives the reason."""
    a_wheel(lab.packages)
    (lab.packages / SDIST).write_bytes(b"")

    def read(path: str) -> bytes | None:
        return read_metadata(PackagesDirectory(lab.packages), path)

    assert read(WHEEL) == METADATA.encode()
    with pytest.raises(Rejected, match="truncated or damaged"):
        read(SDIST)
    with pytest.raises(FileNotFoundError):
        read("absent-1.0.tar.gz")


@pytest.mark.parametrize(
    ("metadata", "note"),
    [
        (
            METADATA + "Requires-Python: yes\n",
            "invalid Requires-Python 'yes'",
        ),
        ((METADATA + "Author: Gr\xfc\xdfe\n").encode("latin-1"), "metadata is not UTF-8"),
    ],
)
def test_omitted_fields_are_logged(
    lab: Lab, caplog: pytest.LogCaptureFixture, metadata: str | bytes, note: str
) -> None:
    """Fields that are omitted from pages are logged."""
    wheel(metadata)(lab.packages / WHEEL)
    lab.once()
    page = lab.page("foo")
    assert page is not None
    [file] = page["files"]
    assert note in caplog.text
    assert "requires-python" not in json.dumps(page)
    assert bool(file.get("core-metadata")) == isinstance(metadata, str)
