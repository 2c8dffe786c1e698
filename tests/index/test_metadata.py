"""Core metadata: single and repeated fields, descriptions, limits."""

import pytest

from appliance.errors import Rejected
from appliance.index.metadata import parse

HEAD = "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"

# (fields, name of one field, its text on one line)
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
def test_metadata_uses_first_value_of_single_field(
    fields: str, name: str, line: str | None
) -> None:
    """The parser uses the first value of a field that may occur only once."""
    assert parse((HEAD + fields).encode()).line(name) == line


def test_metadata_keeps_all_values_of_repeated_field() -> None:
    """The parser keeps all values of a repeatable field in order; the last URL of a label wins."""
    text = (
        HEAD
        + "Classifier: b\nClassifier: a\nProject-URL: x, https://a\nProject-URL: x, https://b\n"
    )
    metadata = parse(text.encode())
    assert metadata.texts("classifiers") == ["b", "a"]
    assert metadata.texts("requires_dist") == []
    assert metadata.project_urls == {"x": "https://b"}
    assert parse(f"{HEAD}Project-URL: x, https://a\n".encode()).project_urls == {"x": "https://a"}


# (text after HEAD, description)
DESCRIPTIONS = [
    ("\nSome text\n\nMore.\n", "Some text\n\nMore.\n"),
    ("Description: Some text\n", "Some text"),
    ("", ""),
]


@pytest.mark.parametrize(("rest", "description"), DESCRIPTIONS)
def test_description_is_body_or_field(rest: str, description: str) -> None:
    """The parser reads the description from the body, or from its field as before Metadata 2.1."""
    assert parse((HEAD + rest).encode()).description == description


def test_metadata_outside_utf8_is_readable() -> None:
    """The parser reads metadata that is not UTF-8 and sets ``is_utf8`` to false."""
    metadata = parse((HEAD + "Author: Gr\xfc\xdfe\nSummary: a\n").encode("latin-1"))
    assert (metadata.is_utf8, metadata.line("summary")) == (False, "a")


# (fields, reason)
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
def test_oversized_metadata_is_rejected(fields: str, reason: str) -> None:
    """The parser rejects metadata with too many or too long fields."""
    with pytest.raises(Rejected, match=reason):
        parse((HEAD + fields).encode(), "PKG-INFO")


def test_metadata_rejects_control_characters() -> None:
    """The parser rejects control characters in a field of one line."""
    with pytest.raises(Rejected, match="control characters in the metadata field Requires-Python"):
        parse((HEAD + "Requires-Python: >=3\x1b[0m\n").encode()).line("requires_python")
