"""Forms of upload clients: those that real clients have sent, and those that none may send."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.uploads.form import LARGEST_FIELDS, Form, FormReader
from appliance.uploads.refused import Refused
from tests.uploads.forms import BOUNDARY, CONTENT_TYPE, encode

RECORDED = Path(__file__).parent.parent / "data" / "upload-requests"
FILES = sorted(RECORDED.glob("*.bin"))
# What clients have sent: action, project, version, name of the file.
SENT = {
    "Hatch_1.18.2_file_upload": "file_upload new-demo 0.1 new_demo-0.1-py3-none-any.whl",
    "Python_urllib_2.7_file_upload": "file_upload old.demo_pkg 0.3 old.demo_pkg-0.3.tar.gz",
    "Python_urllib_2.7_submit": "submit old.demo_pkg 0.3 None",
    "Python_urllib_3.6_file_upload": "file_upload old.demo_pkg 0.3 old.demo_pkg-0.3.tar.gz",
    "Python_urllib_3.6_submit": "submit old.demo_pkg 0.3 None",
    "distutils27": "file_upload old.demo_pkg 0.3 old.demo_pkg-0.3.tar.gz",
    "pdm_2.29.3_file_upload": "file_upload new-demo 0.1 new_demo-0.1-py3-none-any.whl",
    "poetry_2.5.1_file_upload": "file_upload po-demo 0.1.0 po_demo-0.1.0-py3-none-any.whl",
    "python_requests_2.34.2_file_upload": "file_upload new-demo 0.1 new_demo-0.1.tar.gz",
    "twine_1.15.0_file_upload": "file_upload foo-demo 1.0 foo_demo-1.0-py2.py3-none-any.whl",
    "twine_7.0.0_file_upload": "file_upload foo-demo 1.0 foo_demo-1.0-py2.py3-none-any.whl",
    "uv_0.13.9_file_upload": "file_upload foo-demo 1.0 foo_demo-1.0-py2.py3-none-any.whl",
}


class Received(bytearray):
    """Bytes of the file in a form."""

    def write(self, data: bytes) -> None:
        self.extend(data)


def read(body: bytes, content_type: str = CONTENT_TYPE, step: int = 1 << 16) -> tuple[Form, bytes]:
    """Return the form in ``body`` and its file, of which ``step`` bytes arrive at a time."""
    received = Received()
    reader = FormReader(content_type, received)
    for start in range(0, len(body), step):
        reader.feed(body[start : start + step])
    return reader.finish(), bytes(received)


def test_all_recorded_forms_are_in_table() -> None:
    """The table has all recorded forms."""
    assert {path.stem for path in FILES} == SENT.keys()


@pytest.mark.parametrize("step", [1, 61, 1 << 16])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_forms_of_clients_are_read(path: Path, step: int) -> None:
    """The forms of real clients are read, however they arrive."""
    form, content = read(path.read_bytes(), path.with_suffix(".ct").read_text(), step)
    words = (form.action, form.get("name"), form.get("version"), form.filename)
    assert " ".join(map(str, words)) == SENT[path.stem]
    assert (
        content[:2]
        == {"whl": b"PK", "gz": b"\x1f\x8b", "None": b""}[str(form.filename).rpartition(".")[2]]
    )


@pytest.mark.parametrize("step", [1, 1 << 16])
def test_form_begins_with_its_boundary(step: int) -> None:
    """A boundary after more than a kilobyte is not searched for, however the bytes arrive."""
    form = encode({"name": "foo"})
    assert read(b"\r\n" * 400 + form, step=step)[0].fields == {"name": "foo"}
    with pytest.raises(Refused, match="does not begin with its boundary"):
        read(b"\r\n" * 600 + form, step=step)


def test_empty_values_are_absent() -> None:
    """A field that is empty, or says UNKNOWN as distutils writes it, is absent."""
    form, _ = read(
        encode({":action": "verify", "name": "foo", "version": "UNKNOWN", "filetype": ""})
    )
    assert form.fields == {":action": "verify", "name": "foo"}


def test_other_fields_are_not_kept() -> None:
    """A field that is not needed is read and not kept, however long it is."""
    form, _ = read(encode({"name": "foo", "description": "x" * 1_000_000, "classifiers": "a"}))
    assert form.fields == {"name": "foo"}


REFUSED = {
    "no form": (b"{}", "application/json", "Expected a form (multipart/form-data) with a boundary"),
    "no boundary": (b"", "multipart/form-data", "Expected a form (multipart/form-data) with"),
    "long boundary": (b"", f"multipart/form-data; boundary={'x' * 201}", "Expected a form"),
    "other boundary": (b"--other\r\n" * 500, CONTENT_TYPE, "does not begin with its boundary"),
    "empty": (b"", CONTENT_TYPE, "malformed or incomplete"),
    "no end": (encode({"name": "foo"})[:-8], CONTENT_TYPE, "malformed or incomplete"),
    "no part": (f"--{BOUNDARY}\r\n".encode(), CONTENT_TYPE, "malformed or incomplete"),
    "two names": (
        encode({"name": "foo"})[:-4] + b"\r\n" + encode({"name": "bar"})[10:],
        CONTENT_TYPE,
        "two fields named name",
    ),
    "long name": (encode({"name": "x" * 5000}), CONTENT_TYPE, "name is longer than 4096 bytes"),
    "long signature": (
        encode({"gpg_signature": "x" * 70_000}),
        CONTENT_TYPE,
        "gpg_signature is longer than 65536 bytes",
    ),
    "long header": (
        encode({"x" * 5000: ""}),
        CONTENT_TYPE,
        "Maximum segment header length exceeded",
    ),
    "many parts": (encode(dict.fromkeys(map(str, range(10_001)), "")), CONTENT_TYPE, "count"),
    "large fields": (
        encode({"description": b"x" * LARGEST_FIELDS}),
        CONTENT_TYPE,
        "have more than 16777216 bytes",
    ),
    "bare newlines and a file": (
        encode({"name": "foo"}, "foo-1.0.zip", b"x", newline=b"\n"),
        CONTENT_TYPE,
        "has a file, and lines that end with LF",
    ),
    "control characters": (
        encode({}, "foo\x00-1.0.zip", b"x").replace(b"\r\n\r\n", b"\r\n\0\0\r\n\r\n"),
        CONTENT_TYPE,
        "malformed or incomplete",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_forms_are_refused(case: str) -> None:
    """A form that no client sends is refused with the reason."""
    body, content_type, reason = REFUSED[case]
    with pytest.raises(Refused, match=r".*") as raised:
        read(body, content_type)
    assert raised.value.status == 400
    assert reason in str(raised.value)


@given(st.binary(max_size=500), st.integers(1, 50))
def test_any_bytes_are_a_form_or_refused(tail: bytes, step: int) -> None:
    """Any bytes are a form, or are refused."""
    for body in (tail, f"--{BOUNDARY}\r\n".encode() + tail, encode({"name": "a"})[:-4] + tail):
        try:
            read(body, step=step)
        except Refused as error:
            assert error.status == 400


_TEXT = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs", "Cc"]))


@given(
    st.binary(max_size=300), _TEXT, st.integers(1, 300), st.sampled_from(["\r\n", "\n", "\r", "--"])
)
def test_file_arrives_unchanged(content: bytes, text: str, step: int, near: str) -> None:
    """The file has the bytes that were sent, also bytes that resemble a boundary."""
    content += f"{near}--{BOUNDARY[:-1]}".encode() + content
    form, received = read(encode({"name": text}, "foo-1.0.zip", content), step=step)
    assert received == content
    assert form.filename == "foo-1.0.zip"
