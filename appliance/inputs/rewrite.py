"""Rewriting of locks: their URLs point to this index instead, and back.

Only URLs change: comments, order and line ends stay, so that the way back gives the same bytes. An
origin file next to the lock has what they were.
"""

import hashlib
import json
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from appliance.atomic import Batch, unlink
from appliance.errors import PyindexError
from appliance.index import names
from appliance.inputs import poetrylock, pylock, requirements, uvlock
from appliance.inputs.reading import kind_of
from appliance.inputs.text import read_bytes
from appliance.inputs.urls import filename_of

ORIGIN = ".pyindex-origin"
_FILE = re.compile(r"(?<![+\w])https?://[^\s\"'<>,;\\#]+")
# The URL of an index, after the text that makes it one; poetry writes none with a slash at its end.
_INDEXES = {
    uvlock.KIND: r'\bregistry = "(https?://[^"]+)',
    pylock.KIND: r'\bindex = "(https?://[^"]+)',
    poetrylock.KIND: r'^type = "legacy"\r?\nurl = "(https?://[^"]+)',
    requirements.KIND: r"^\s*(?:-i|--(?:extra-)?index-url|--pypi-url)[ =]?\s*(https?://\S+)",
}
_WITHOUT_SLASH = (poetrylock.KIND,)


@dataclass(frozen=True, slots=True)
class Replacement:
    """A URL in a rewritten text, at ``offset`` characters, and what it was."""

    offset: int
    new: str
    old: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The text of a lock, as characters of one byte each, with what was replaced in it.

    ``unknown`` are the names of files that the index was not known to have.
    """

    text: str
    replacements: tuple[Replacement, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """The index that a lock is rewritten to: its URL without a slash at its end, and a function
    that returns the URLs of files by their names, as far as it has them."""

    url: str
    locate: Callable[[list[str]], Mapping[str, str]] | None = None

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    @property
    def packages(self) -> str:
        """The URL below which a file has its name, unless its path is known."""
        return f"{self.url}/packages/"


def rewrite(path: Path, index: Index) -> Rewritten:
    """The lock at ``path`` with the URLs of its indexes and files replaced by those of ``index``.

    A file that the index is not known to have gets the URL of its name below ``packages/``. A lock
    that was rewritten before is restored first. Raises :class:`PyindexError` for a lock whose
    format has no URLs.
    """
    kind = kind_of(path)
    if kind not in _INDEXES:
        known = ", ".join(_INDEXES)
        raise PyindexError(f"{path}: cannot rewrite a {kind}; pass one of {known}")
    text = _read(path)
    if origin_path(path).exists():
        text = _restored(text, path)

    spans = sorted(_index_spans(text, kind, index) | _file_spans(text, index))
    names_of_files = sorted({filename_of(text[start:end]) for start, end, new in spans if not new})
    urls = index.locate(names_of_files) if index.locate else {}
    return _replace(text, spans, urls, index)


def restore(path: Path) -> str:
    """The text of a lock as it was before :func:`rewrite`; raises :class:`PyindexError`."""
    if not origin_path(path).exists():
        text = f"{origin_path(path).name} not found; restore the lock from version control"
        raise PyindexError(f"{path}: {text}")
    return _restored(_read(path), path)


def origin_path(path: Path) -> Path:
    """The path of the origin file of a lock."""
    return path.with_name(path.name + ORIGIN)


def write(path: Path, output: Path, rewritten: Rewritten) -> None:
    """Write the rewritten lock ``path`` to ``output``, with an origin file if a URL changed."""
    content = rewritten.text.encode("latin-1")
    replacements = [[each.offset, each.new, each.old] for each in rewritten.replacements]
    origin = {"sha256": hashlib.sha256(content).hexdigest(), "replacements": replacements}
    files = {output: content}
    if replacements:
        files = {origin_path(output): json.dumps(origin, indent=1).encode() + b"\n", **files}
    else:
        unlink(origin_path(output))
    _write(files, mode_of=path)


def _write(files: Mapping[Path, bytes], mode_of: Path) -> None:
    """Write files, each atomically, with the mode of another: URLs of indexes can have passwords.
    The order counts: an origin file without its lock is harmless."""
    mode = stat.S_IMODE(mode_of.stat().st_mode)
    with Batch() as batch:
        for path, content in files.items():
            batch.write(path.absolute(), content)
    for path in files:
        path.chmod(mode)


def write_restored(path: Path, output: Path, text: str) -> None:
    """Write a restored lock to ``output``; in the place of the lock, remove its origin file."""
    _write({output: text.encode("latin-1")}, mode_of=path)
    if output == path:
        unlink(origin_path(path))


def _read(path: Path) -> str:
    content = read_bytes(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise PyindexError(f"{path}: not UTF-8; save it as UTF-8")
    return content.decode("latin-1")  # URLs are ASCII, and each byte comes back as it was


# Start, end and new URL of an index; of a file, whose URL is looked up later, an empty text.
_Spans = set[tuple[int, int, str]]


def _index_spans(text: str, kind: str, index: Index) -> _Spans:
    new = index.simple.rstrip("/") if kind in _WITHOUT_SLASH else index.simple
    matches = re.finditer(_INDEXES[kind], text, re.MULTILINE)
    return {(match.start(1), match.end(1), new) for match in matches}


def _file_spans(text: str, index: Index) -> _Spans:
    matches = _FILE.finditer(text)
    return {(m.start(), m.end(), "") for m in matches if names.distribution(filename_of(m[0]))}


def _replace(
    text: str, spans: list[tuple[int, int, str]], urls: Mapping[str, str], index: Index
) -> Rewritten:
    chunks: list[str] = []
    replacements: list[Replacement] = []
    end_of_last = length = 0
    unknown = set()
    for start, end, new in spans:
        old, filename = text[start:end], filename_of(text[start:end])
        if not new and filename not in urls:
            unknown.add(filename)
        new = new or urls.get(filename) or f"{index.packages}{quote(filename, '!~')}"
        chunks += (text[end_of_last:start], new)
        length += start - end_of_last
        if new != old:
            replacements.append(Replacement(length, new, old))
        length += len(new)
        end_of_last = end
    chunks.append(text[end_of_last:])
    return Rewritten("".join(chunks), tuple(replacements), tuple(sorted(unknown)))


def _restored(text: str, path: Path) -> str:
    """The text before it was rewritten: exact if it did not change since, or else by URL."""
    digest, replacements = _read_origin(origin_path(path))
    if hashlib.sha256(text.encode("latin-1")).hexdigest() != digest:
        return _restored_by_url(text, replacements, path)
    chunks: list[str] = []
    position = 0
    for each in replacements:
        chunks += (text[position : each.offset], each.old)
        position = each.offset + len(each.new)
    return "".join((*chunks, text[position:]))


def _read_origin(path: Path) -> tuple[str, list[Replacement]]:
    try:
        origin = json.loads(read_bytes(path))
        replacements = [Replacement(int(o), str(n), str(u)) for o, n, u in origin["replacements"]]
        return str(origin["sha256"]), replacements
    except (ValueError, TypeError, KeyError):
        text = "damaged; restore the lock from version control, and delete this file"
        raise PyindexError(f"{path}: {text}") from None


def _restored_by_url(text: str, replacements: list[Replacement], path: Path) -> str:
    """The text of a lock that its tool wrote again: each URL must have been one other."""
    old: dict[str, str] = {}
    for each in replacements:
        if old.setdefault(each.new, each.old) != each.old:
            reason = f"changed since it was rewritten, and {each.new} was more than one URL"
            raise PyindexError(f"{path}: {reason}; restore the lock from version control")
    if not old:
        return text
    longest_first = sorted(old, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return pattern.sub(lambda match: old[match[0]], text)
