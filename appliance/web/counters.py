"""Counters of all processes of a server, in files that each process maps into its memory: counting
costs no system call, and no process waits for another."""

import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

from appliance.atomic import unlink
from appliance.locks import locked

_LOCK = "lock"
_NUMBER = struct.Struct("=Q")


class Counters:
    """Counters by name, the same names in all processes. In a state directory without write access
    or space they stay 0."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._directory = directory
        self._offsets = {name: _NUMBER.size * number for number, name in enumerate(names)}
        # Files of a server with other names are of another form.
        self._form = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        self._lock = threading.Lock()
        self._process = 0
        self._memory: mmap.mmap | None = None

    def add(self, name: str, number: int = 1) -> None:
        """Add to a counter. Raises ``KeyError`` for an unknown name."""
        offset = self._offsets[name]
        with self._lock:
            if (memory := self._own()) is not None:
                (value,) = _NUMBER.unpack_from(memory, offset)
                _NUMBER.pack_into(memory, offset, value + number)

    def totals(self) -> dict[str, int]:
        """Return the sums over all processes since :meth:`clear`, also of those that have ended."""
        sums = dict.fromkeys(self._offsets, 0)
        try:
            with locked(self._directory / _LOCK):
                for path in self._directory.glob(f"*-{self._form}"):
                    content = path.read_bytes().ljust(self._size, b"\0")
                    for name, offset in self._offsets.items():
                        sums[name] += _NUMBER.unpack_from(content, offset)[0]
        except OSError:
            pass  # nothing was counted there
        return sums

    def clear(self) -> None:
        """Remove the files, before the processes of a server are started."""
        for path in self._directory.glob("*-*"):
            unlink(path)

    @property
    def _size(self) -> int:
        return max(_NUMBER.size * len(self._offsets), 1)

    def _own(self) -> mmap.mmap | None:
        """Return the memory of this process; another one than that of its parent."""
        if self._process != os.getpid():
            self._process, self._memory = os.getpid(), self._opened()
        return self._memory

    def _opened(self) -> mmap.mmap | None:
        try:
            self._directory.mkdir(0o750, exist_ok=True)
            with locked(self._directory / _LOCK):
                self._fold()
                return self._mapped(self._process)
        except OSError:
            return None

    def _mapped(self, process: int) -> mmap.mmap:
        with (self._directory / f"{process}-{self._form}").open("a+b") as file:
            # All bytes are written: a hole of a file that is mapped would end the process when the
            # disk is full.
            file.write(bytes(max(0, self._size - os.fstat(file.fileno()).st_size)))
            file.truncate(self._size)  # flushes
            return mmap.mmap(file.fileno(), self._size)

    def _fold(self) -> None:
        """Add the counts of processes that have ended to those of process 0, and remove their
        files: workers come and go for years."""
        for path in self._directory.glob("*-*"):
            process, _, form = path.name.partition("-")
            if process == "0" or _is_running(process):
                continue
            content = path.read_bytes()
            if form == self._form and len(content) == self._size:
                with self._mapped(0) as past:
                    for offset in self._offsets.values():
                        (count,) = _NUMBER.unpack_from(content, offset)
                        _NUMBER.pack_into(
                            past, offset, _NUMBER.unpack_from(past, offset)[0] + count
                        )
            unlink(path)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
