"""Core metadata is read as installers read it, within bounds."""

import pytest

from appliance.errors import Rejected
from appliance.index.metadata import parse

HEAD = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"

# (fields, name of one, its line)
LINES = [
    ("Summary: one\nSummary: two\n", "summary", "one"),
    ("Requires-Python: >=3\nRequires-Python: >=2\n", "requires_python", ">=3"),
    ("Name: bar\n", "name", "foo"),
    ("SUMMARY: a\n  b\n", "summary", "a b"),
    ("Summary: UNKNOWN\n", "summary", None),
    ("Summary:\n", "summary", None),
    ("Home-page: https://example.org\n", "home_page", "https://example.org"),
    ("X-Unknown: 1\n", "summary", None),
    ("Content-Type: message/rfc822\n", "description", None),
    ("Content-Type: multipart/mixed; boundary=x\nSummary: a\n", "summary", "a"),
]


@pytest.mark.parametrize(("fields", "name", "line"), LINES)
def test_a_field_of_one_value_is_its_first(fields: str, name: str, line: str | None) -> None:
    """However often it is there, and whatever else is."""
    assert parse((HEAD + fields).encode()).line(name) == line


def test_fields_of_many_values() -> None:
    """All of them, in their order; labels of URLs may be repeated."""
    text = (
        HEAD
        + "Classifier: b\nClassifier: a\nProject-URL: x, https://a\nProject-URL: x, https://b\n"
    )
    metadata = parse(text.encode())
    assert metadata.texts("classifiers") == ["b", "a"]
    assert metadata.texts("requires_dist") == []
    assert metadata.project_urls == {"x": "https://b"}
    assert parse(f"{HEAD}Project-URL: x, https://a\n".encode()).project_urls == {"x": "https://a"}


# (all that follows the head, description)
DESCRIPTIONS = [
    ("\nSome text\n\nMore.\n", "Some text\n\nMore.\n"),
    ("Description: Some text\n", "Some text"),
    ("", ""),
]


@pytest.mark.parametrize(("rest", "description"), DESCRIPTIONS)
def test_the_description_follows_the_fields_or_is_one(rest: str, description: str) -> None:
    """As before Metadata 2.1."""
    assert parse((HEAD + rest).encode()).description == description


def test_what_is_not_utf8_is_read_all_the_same() -> None:
    """It is noted, as clients may not."""
    metadata = parse((HEAD + "Author: Gr\xfc\xdfe\nSummary: a\n").encode("latin-1"))
    assert (metadata.is_utf8, metadata.line("summary")) == (False, "a")


# (fields, what is said)
REJECTED = [
    ("Classifier: x\n" * 20_001, "its PKG-INFO has more than 20,000 lines of fields"),
    ("".join(f"X-{n}: x\n" for n in range(101)), "its PKG-INFO has more than 100 different fields"),
    (f"Requires-Python: {'x' * 257}\n", "the field Requires-Python of its PKG-INFO is longer"),
    (f"X-Unknown: {'x' * 65_537}\n", "the field X-Unknown of its PKG-INFO is longer than 65,536"),
    (f"Classifier: {'x' * 65_537}\n", "the field Classifiers of its PKG-INFO is longer"),
    (f"Project-URL: a, {'x' * 65_537}\n", "the field Project-Urls of its PKG-INFO is longer"),
    (f"Name: {'x' * 1024 * 1024}\n", "its PKG-INFO has more than 1 MiB of fields"),
]


@pytest.mark.parametrize(("fields", "reason"), REJECTED)
def test_what_nobody_writes_is_rejected(fields: str, reason: str) -> None:
    """Before it can fill a page, or take time."""
    with pytest.raises(Rejected, match=reason):
        parse((HEAD + fields).encode(), "PKG-INFO")


def test_control_characters_are_rejected() -> None:
    """Where a line of text is wanted."""
    with pytest.raises(Rejected, match="control characters in the metadata field Requires-Python"):
        parse((HEAD + "Requires-Python: >=3\x1b[0m\n").encode()).line("requires_python")
