"""Following the packages directories: the system tells which part to look at, and all of it is
looked at now and then, since network file systems tell nothing."""

import contextlib
import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Set
from pathlib import Path

import watchfiles

from appliance.errors import PyindexError
from appliance.index.catalog import Catalog
from appliance.index.publish import Publisher
from appliance.index.scan import EVERYTHING, QUIET_SECONDS, Scanner
from appliance.index.store import Site, make_directory
from appliance.spec import Spec

log = logging.getLogger(__name__)

# More events than this, and looking at everything is cheaper, and sees what may have been lost.
_MANY_EVENTS = 200
_LISTS_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_TICK_MILLISECONDS = 100
_WATCHES = Path("/proc/self/fdinfo")  # Linux only


class Watch:
    """Follows all folders of a spec, and publishes; what ``pyindex serve`` and ``watch`` run."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._troubles: set[object] = set()
        self._missing = 0
        self._stop = threading.Event()
        self._open()

    def _open(self) -> None:
        """Begin with what is there now: directories may be others under the same names."""
        Site(self._spec).check()
        catalog = Catalog(self._spec.catalog, create=True)
        self._publisher = Publisher(self._spec, catalog)
        self._scanners = [Scanner(self._spec, catalog, index) for index in self._spec.indexes]
        self._lists_at = self._reconcile_at = self._rest_until = 0.0
        Site(self._spec).tidy()

    def stop(self) -> None:
        """Let :meth:`run` come to its end soon."""
        self._stop.set()

    def run(self) -> None:
        """Follow the folders until :meth:`stop`. What goes wrong on the way is logged once,
        leaves what was published as it is, and is tried again."""
        while not self._stop.is_set():
            places = self._places()
            try:
                self._open()
                with alive(self._spec):
                    for heard in self._events():
                        if self._places() != places:
                            break
                        self._tick(heard)
            except (OSError, PyindexError) as error:
                self._report(error)
                self._stop.wait(_RETRY_SECONDS)

    def _places(self) -> list[object]:
        """What must stay as it is for us to go on: watches belong to a directory, not to its
        name, and connections to a file."""
        return [self._spec.catalog.exists(), *(_identity(scanner) for scanner in self._scanners)]

    def once(self, again: bool = False) -> None:
        """Bring catalog and pages up to the folders; ``again`` reads every file again, and writes
        every page."""
        self._publisher.publish()
        for scanner in self._scanners:
            self._look(scanner, EVERYTHING, again=again)
            while scanner.waiting:
                time.sleep(QUIET_SECONDS)
                self._look(scanner, scanner.waiting, heard=True)
        self._publisher.publish(everything=again)
        self._publisher.publish_lists()

    def _tick(self, heard: list[str]) -> None:
        now = time.monotonic()
        if now < self._rest_until:
            return
        due = now >= self._reconcile_at
        everything = due or len(heard) > _MANY_EVENTS
        try:
            if everything:
                self._publisher.publish()
            for scanner in self._scanners:
                if everything:
                    self._look(scanner, EVERYTHING)
                else:
                    self._hear(scanner, heard)
            if due:
                self._count_followed()
            if everything:
                self._reconcile_at = now + self._spec.server.reconcile.total_seconds()
            self._publish_lists()
        except (OSError, PyindexError) as error:
            self._report(error)
        else:
            self._troubles = {each for each in self._troubles if isinstance(each, str)}

    def _hear(self, scanner: Scanner, heard: list[str]) -> None:
        paths = {path for each in heard if (path := scanner.folder.relative(each)) is not None}
        if paths:
            self._look(scanner, paths, heard=True)
        if scanner.waiting:
            self._look(scanner, scanner.waiting, heard=True)

    def _look(
        self, scanner: Scanner, under: Set[str], heard: bool = False, again: bool = False
    ) -> None:
        for _ in scanner.look(under, heard, again):
            self._publish()
            if self._stop.is_set():
                return  # what is left is found at the next start

    def _publish(self) -> None:
        self._publisher.publish()
        self._publish_lists()

    def _publish_lists(self) -> None:
        if time.monotonic() - self._lists_at >= _LISTS_SECONDS:
            self._publisher.publish_lists()
            self._lists_at = time.monotonic()

    def _report(self, error: Exception) -> None:
        """Log a trouble when it begins; look at everything again after a pause."""
        trouble, text = (type(error), getattr(error, "errno", None) or str(error)), str(error)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            text = f"the disk of {self._spec.state} is full: free some space"
        if trouble not in self._troubles:
            log.error("%s; what was published stays, and this is tried again", text)
            self._troubles.add(trouble)
        self._reconcile_at = 0.0
        self._rest_until = time.monotonic() + _RETRY_SECONDS

    def _count_followed(self) -> None:
        """Tell when the system follows fewer directories than there are, twice in turn: it may
        just be about to."""
        roots = [scanner.folder.root for scanner in self._scanners]
        directories = sum(1 for root in roots for _ in os.walk(root))
        missing = directories - _followed() if _WATCHES.is_dir() else 0
        if missing > 0 and self._missing > 0:
            self._tell(
                "unheard",
                f"of {directories} directories, {missing} are not followed by the system: what"
                " changes there shows when all is compared (server.reconcile); raise"
                " fs.inotify.max_user_watches by sysctl, and restart",
            )
        self._missing = missing

    def _tell(self, trouble: str, text: str) -> None:
        """Log once what does not pass by itself."""
        if trouble not in self._troubles:
            log.error("%s", text)
            self._troubles.add(trouble)

    def _events(self) -> Iterator[list[str]]:
        """Paths where something happened, as it happens, and empty lists between."""
        roots = [scanner.folder.root for scanner in self._scanners if scanner.folder.root.is_dir()]
        try:
            for changes in _changes(roots, self._stop):
                yield [path for _, path in changes]
        except RuntimeError as error:  # a name that is not UTF-8 is more than watchfiles can take
            self._tell(
                str(error), f"{error}; the packages directories are compared in full instead"
            )
            self._stop.wait(_RETRY_SECONDS)
            self._reconcile_at, self._missing = 0.0, 0
            yield []


def _identity(scanner: Scanner) -> object:
    try:
        return scanner.folder.given.resolve(), scanner.folder.inode()
    except (OSError, PyindexError):
        return None


def _followed() -> int:
    """How many directories the system follows for this process (proc_pid_fdinfo(5))."""
    count = 0
    for info in _WATCHES.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += info.read_text().count("inotify wd:")
    return count


def _changes(
    roots: list[Path], stop: threading.Event
) -> Iterator[set[tuple[watchfiles.Change, str]]]:
    if not roots:
        stop.wait(_RETRY_SECONDS)
        yield set()
        return
    yield from watchfiles.watch(
        *roots,
        watch_filter=None,
        debounce=_TICK_MILLISECONDS * 2,
        step=_TICK_MILLISECONDS // 4,
        rust_timeout=_TICK_MILLISECONDS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )


@contextlib.contextmanager
def alive(spec: Spec) -> Iterator[None]:
    """Hold the sign that a watch is running; it goes with the process, however that ends.

    Raises :class:`PyindexError` if another follows other folders for the same state.
    """
    make_directory(spec.state)
    folders = "\n".join(f"{name} {index.packages}" for name, index in spec.indexes.items())
    with (spec.state / "watch.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(0)
            if file.read() != folders:
                raise PyindexError(
                    f"state {spec.state} is in use for other packages directories: end that"
                    " server, or choose another state"
                ) from None
        else:
            file.truncate(0)
            file.write(folders)
            file.flush()
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_alive(spec: Spec) -> bool:
    """Whether some process follows the folders of ``spec``."""
    try:
        with (spec.state / "watch.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
