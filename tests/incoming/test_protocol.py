"""What a process that examines files answers is taken for what it is, or not at all."""

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
def test_an_answer_is_read_as_it_was_written(answer: Answer) -> None:
    """On one line, whatever is in it."""
    line = encode(answer)
    assert line.count(b"\n") == 1
    read = decode(line, ENTRY)
    metadata = None if isinstance(answer.outcome, MetadataRead) else answer.metadata
    assert (read.outcome, read.notes, read.trace) == (answer.outcome, answer.notes, answer.trace)
    if metadata is not None:
        assert read.metadata == metadata


# What a process that a file has taken over might say of it.
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
def test_facts_that_no_file_has_are_nonsense(lie: dict[str, Any]) -> None:
    """What reaches the catalog can be in a page, in a path and in a log."""
    fields = json.loads(encode(Answer(Accepted(FILE))))
    fields["file"] |= lie
    with pytest.raises(InvalidAnswerError):
        decode(json.dumps(fields).encode(), ENTRY)


@pytest.mark.parametrize("name", sorted(json.loads(encode(Answer(Accepted(FILE))))["file"]))
def test_a_fact_that_is_lacking_is_nonsense(name: str) -> None:
    """Nothing has a default."""
    fields = json.loads(encode(Answer(Accepted(FILE))))
    del fields["file"][name]
    with pytest.raises(InvalidAnswerError):
        decode(json.dumps(fields).encode(), ENTRY)


def test_a_process_that_writes_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading from it ends after a bounded number of bytes, and it counts as dead."""
    process = ExaminerProcess()
    with Path("/dev/zero").open("rb") as endless:
        monkeypatch.setattr(process, "_stdout", endless)
        assert process.exchange() == ([], False)
        process.kill()
