"""Cache of project pages and core metadata between runs, and of answers made of them, in small
files that are replaced atomically.

A page is revalidated on each run; core metadata belongs to a digest, and never changes. Nothing in
the cache is needed: a missing or damaged file counts as none.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from appliance import atomic

_KEEP_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its final URL, content type, content, and validators (RFC 9110, 8.8)."""

    url: str
    content_type: str
    content: bytes
    etag: str | None = None
    last_modified: str | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The headers of a request that is answered 304 if the page has not changed."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


class Cache:
    """Cache in a directory, or none."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def page(self, url: str) -> Page | None:
        content = self._read("pages", url)
        if content is None:
            return None
        head, _, body = content.partition(b"\n")
        url, content_type, etag, last_modified = json.loads(head)
        return Page(url, content_type, body, etag, last_modified)

    def store_page(self, url: str, page: Page) -> None:
        """Store a page that can be revalidated."""
        if page.conditions:
            head = json.dumps([page.url, page.content_type, page.etag, page.last_modified])
            self._write("pages", url, head.encode() + b"\n" + page.content)

    def metadata(self, key: str) -> bytes | None:
        return self._read("metadata", key)

    def store_metadata(self, key: str, content: bytes) -> None:
        self._write("metadata", key, content)

    def answer(self, key: str) -> bytes | None:
        return self._read("answers", key)

    def store_answer(self, key: str, content: bytes) -> None:
        self._write("answers", key, content)

    def prune(self) -> None:
        """Remove what was not used for a month."""
        if self._directory is not None:
            for kind in ("pages", "metadata", "answers"):
                atomic.remove_old(str(self._directory / kind), _KEEP_SECONDS)

    def _path(self, kind: str, key: str) -> Path | None:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return None if self._directory is None else self._directory / kind / digest

    def _read(self, kind: str, key: str) -> bytes | None:
        path = self._path(kind, key)
        try:
            content = path.read_bytes() if path else b""
            digest, separator, body = content.partition(b"\n")
            if path is None or not separator or digest != _digest(body):
                return None
            os.utime(path)  # used: see prune()
        except OSError:  # also of a file that another user has written
            return None
        return body

    def _write(self, kind: str, key: str, content: bytes) -> None:
        if path := self._path(kind, key):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic.Batch(durable=False) as batch:
                batch.write(path, _digest(content) + b"\n" + content)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
