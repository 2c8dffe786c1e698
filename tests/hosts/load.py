"""Clients that ask a host without pause, and what they could not get."""

import http.client
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

_TIMEOUT = 60
_REQUESTS_OF_CONNECTION = 20


class Load:
    """One thread for each of *paths* asks for it as long as the ``with`` lasts.

    Each has a connection of its own, and a new one now and then. As every client does, it asks
    again when a connection that was kept is closed (RFC 9112, 9.5). A redirect is an answer, too.
    With *ca*, the certificate of a CA, they use HTTPS.

    Attributes:
        answered: How many requests got what they asked for, by path.
        failures: What the others got instead.
        longest: The longest time in seconds in which a path had no answer, by path.
    """

    def __init__(
        self,
        address: str,
        name: str,
        paths: Sequence[str],
        headers: Mapping[str, str] = MappingProxyType({}),
        ca: Path | None = None,
    ) -> None:
        self.answered = dict.fromkeys(paths, 0)
        self.longest = dict.fromkeys(paths, 0.0)
        self.failures: list[str] = []
        self._address, self._headers = address, {"Host": name, **headers}
        self._tls = ssl.create_default_context(cafile=ca) if ca else None
        if self._tls:
            self._tls.check_hostname = False  # clients here know the address alone
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(path,)) for path in paths]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        try:
            self.wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int = 20) -> None:
        """Until each path has been answered so many times more."""
        wanted = {path: count + more for path, count in self.answered.items()}
        deadline = time.monotonic() + _TIMEOUT
        while any(self.answered[path] < count for path, count in wanted.items()):
            assert time.monotonic() < deadline, f"no answers: {self.failures[-5:]}"
            time.sleep(0.02)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._address, timeout=_TIMEOUT)
        return http.client.HTTPSConnection(self._address, timeout=_TIMEOUT, context=self._tls)

    def _ask(self, path: str) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            connection = self._connection()
            kept = False
            try:
                for _ in range(_REQUESTS_OF_CONNECTION):
                    try:
                        connection.request("GET", path, headers=self._headers)
                        response = connection.getresponse()
                    except ConnectionError:  # RemoteDisconnected is one
                        if not kept:
                            raise
                        break
                    body = response.read()
                    now = time.monotonic()
                    self.longest[path] = max(self.longest[path], now - last)
                    if response.status >= 400:
                        raise http.client.HTTPException(f"{response.status} {body[:200]!r}")
                    last = now
                    self.answered[path] += 1
                    kept = True
                    time.sleep(0.005)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{path}: {type(error).__name__}: {error}")
                self.longest[path] = max(self.longest[path], time.monotonic() - last)
                time.sleep(0.01)
            finally:
                connection.close()
