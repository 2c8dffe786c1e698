"""Answers of examiners: valid ones are decoded, all others rejected."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.incoming.entries import Entry
from appliance.incoming.outcomes import Accepted, Changing, Deleted, MetadataRead
from appliance.incoming.processes import ExaminerProcess
from appliance.incoming.protocol import Answer, InvalidAnswerError, decode, encode, rejection
from appliance.index.model import Code, File

ENTRY = Entry("sub/foo-1.0.tar.gz", 10, 5_000_000_999, 7)
FILE = File(
    path="sub/foo-1.0.tar.gz",
    filename="foo-1.0.tar.gz",
    project="foo",
    name="Foo",
    version="1.0",
    kind="sdist",
    python_version="source",
    size=10,
    mtime_ns=5_000_000_999,
    inode=7,
    sha256="a" * 64,
    md5="b" * 32,
    blake2b_256="c" * 64,
    upload_time=5_000_000,
    summary="Größe",
    core_metadata="d" * 64,
    signature=True,
)
ANSWERS = [
    Answer(Accepted(FILE), b"Name: Foo\n\xff", ("a note",)),
    Answer(Accepted(FILE)),
    Answer(rejection(ENTRY, Code.FAILED, "for\nsome reason"), trace="Traceback …"),
    Answer(rejection(ENTRY, Code.UNREADABLE, "cannot be read", retry=True)),
    Answer(Changing(ENTRY.path)),
    Answer(Deleted(ENTRY.path)),
    Answer(MetadataRead(b"Name: Foo\n")),
    Answer(MetadataRead(None)),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer.outcome).__name__)
def test_decode_inverts_encode(answer: Answer) -> None:
    """An answer is one line, and is decoded to the same value."""
    line = encode(answer)
    assert line.count(b"\n") == 1
    read = decode(line, ENTRY)
    metadata = None if isinstance(answer.outcome, MetadataRead) else answer.metadata
    assert (read.outcome, read.notes, read.trace) == (answer.outcome, answer.notes, answer.trace)
    if metadata is not None:
        assert read.metadata == metadata


# Answers of an examiner under the control of a hostile file.
LIES: list[dict[str, Any]] = [
    {"project": "../../etc"},
    {"project": "Foo"},
    {"project": ""},
    {"filename": "bar-1.0.tar.gz"},
    {"filename": "sub/foo-1.0.tar.gz"},
    {"name": "<\x1b>"},
    {"version": None},
    {"version": 1},
    {"kind": ["sdist"]},
    {"summary": {"a": 1}},
    {"requires_python": ">=3\n"},
    {"sha256": "A" * 64},
    {"sha256": "a" * 63},
    {"md5": "b" * 31 + "\n"},
    {"blake2b_256": None},
    {"core_metadata": "e"},
    {"core_metadata": 1},
    {"signature": 1},
    {"signature": None},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_invalid_facts_are_rejected(lie: dict[str, Any]) -> None:
    """Facts that cannot be on a page, in a path or in a log are invalid."""
    fields = json.loads(encode(Answer(Accepted(FILE))))
    fields["file"] |= lie
    with pytest.raises(InvalidAnswerError):
        decode(json.dumps(fields).encode(), ENTRY)


@pytest.mark.parametrize("name", sorted(json.loads(encode(Answer(Accepted(FILE))))["file"]))
def test_missing_fact_is_rejected(name: str) -> None:
    """An answer without one of the facts is invalid."""
    fields = json.loads(encode(Answer(Accepted(FILE))))
    del fields["file"][name]
    with pytest.raises(InvalidAnswerError):
        decode(json.dumps(fields).encode(), ENTRY)


def test_endless_answer_ends_examiner(monkeypatch: pytest.MonkeyPatch) -> None:
    """An examiner that writes without end counts as dead after a limited number of bytes."""
    process = ExaminerProcess()
    with Path("/dev/zero").open("rb") as endless:
        monkeypatch.setattr(process, "_stdout", endless)
        assert process.exchange() == ([], False)
        process.kill()
