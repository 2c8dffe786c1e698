"""Text of requirements files: its encoding and its logical lines, as pip reads both."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import PyindexError

MAX_BYTES = 64 * 1024 * 1024

# The order counts: the BOM of UTF-16 is a prefix of that of UTF-32.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)
_CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


def read_bytes(path: Path) -> bytes:
    """The content of an input; raises :class:`PyindexError` for one that cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PyindexError(f"{path}: not found; correct the path") from None
    except IsADirectoryError:
        text = "a directory; pass a file in it, such as pyproject.toml"
        raise PyindexError(f"{path}: {text}") from None
    except OSError as error:
        raise PyindexError(f"{path}: {error.strerror}") from None

    if len(content) > MAX_BYTES:
        raise PyindexError(f"{path}: larger than {MAX_BYTES >> 20} MiB; pass another file")
    return content


def decode(content: bytes, path: Path) -> str:
    """The text of a requirements file: by its BOM, a comment of PEP 263 in the first two lines, or
    else UTF-8. pip tries the encoding of the locale, too, which is another one on each machine.
    """
    content, encoding = _encoding(content)
    try:
        return content.decode(encoding)
    except LookupError:
        text = f"unknown encoding {encoding!r}; correct the comment with `coding`"
        raise PyindexError(f"{path}: {text}") from None
    except UnicodeError as error:
        line = content.count(b"\n", 0, getattr(error, "start", 0)) + 1
        text = f"not {encoding}; save it as UTF-8, or begin it with `# coding: NAME`"
        raise PyindexError(f"{path}:{line}: {text}") from None


def _encoding(content: bytes) -> tuple[bytes, str]:
    """The content without a BOM, and its encoding."""
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content[len(bom) :], encoding
    for line in content.split(b"\n")[:2]:
        if line.startswith(b"#") and (match := _CODING.search(line)):
            return content, match[1].decode("ascii", "replace")
    return content, "utf-8"


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line that is not empty, with its number: continued lines joined, comments removed,
    ``${NAME}`` replaced from the environment. A variable that is not set stays as it is.
    """
    for number, line in _joined(text):
        stripped = _COMMENT.sub("", line).strip()
        if stripped:
            yield number, _VARIABLE.sub(_value, stripped)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined where one ends in a backslash, unless it is a comment."""
    first, pending = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        is_comment = _COMMENT.match(line) is not None
        if line.endswith("\\") and not is_comment:
            pending += line.strip("\\")
            continue
        yield first, pending + (f" {line}" if is_comment else line)
        first, pending = 0, ""
    if pending:
        yield first, pending


def _value(match: re.Match[str]) -> str:
    return os.environ.get(match[1]) or match[0]
