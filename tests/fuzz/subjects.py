"""Forms, names and headers from outside, each given to its parser by a function of bytes, which
fails if what must always hold does not. :mod:`tests.fuzz.archives` has those of package files."""

import string
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import falcon
from falcon.testing import create_req

from appliance.accounts.tokens import has_valid_checksum, is_token
from appliance.errors import Rejected
from appliance.index import names
from appliance.index.names import Distribution
from appliance.text import has_controls
from appliance.uploads import checks
from appliance.uploads.form import Form, FormReader
from appliance.uploads.refused import Refused
from appliance.web import files, login, negotiate, static
from tests.fuzz import archives

_IN_FILENAMES = frozenset(string.ascii_letters + string.digits + "._+!~-")
_WITH_LINES = ("attestations", "gpg_signature")
_SIZE = 1000  # bytes, of the file of which a range is asked for


def form(data: bytes) -> None:
    """The first line is the Content-Type, the rest the body. A form is refused, or is the same in
    pieces of any size; its fields are lines of text, and its file has a safe name."""
    first, _, body = data.partition(b"\n")
    steps = (max(len(body), 1), 1 + len(body) // 3, 1 + len(body) // 50)
    # multipart refuses a LF without CR in the head of a part only if it is not in one piece.
    outcomes = [_read_form(first.decode("latin-1"), body, step) for step in steps]
    accepted = [outcome for outcome in outcomes if outcome is not None]
    if not accepted:
        return

    stated, content = accepted[0]
    assert all(outcome == accepted[0] for outcome in accepted)
    assert len(content) <= len(body)
    lines = [text for name, text in stated.fields.items() if name not in _WITH_LINES]
    assert not any(map(has_controls, lines))
    try:
        checks.protocol(stated)
        checks.file_fields(stated)
        _check_safe(checks.filename(stated, checks.release(stated)))
    except Refused as error:
        assert 400 <= error.status < 500
        assert error.reason.isprintable()


class _Received(bytearray):
    def write(self, data: bytes) -> None:
        self.extend(data)


def _read_form(content_type: str, body: bytes, step: int) -> tuple[Form, bytes] | None:
    """Return a form and its file, ``None`` if it is refused."""
    received = _Received()
    try:
        reader = FormReader(content_type, received)
        for start in range(0, len(body), step):
            reader.feed(body[start : start + step])
        return reader.finish(), bytes(received)
    except Refused as error:
        assert error.status == 400
        return None


def filenames(data: bytes) -> None:
    """The first line is a file name, the second the name in the file's metadata. A file name is
    that of a project and a version, and safe; or it is rejected."""
    filename, _, name = data.decode("utf-8", "replace").partition("\n")
    for project in names.possible(filename):
        assert names.normalize(project) == project
        assert names.is_name(project)
    with suppress(Rejected):
        named = names.parse(filename, name or None)
        _check_safe(named)
        assert names.parse(filename, named.name).project == named.project


def _check_safe(named: Distribution) -> None:
    """Check that the name of a file can be one in a directory, a URL and a page."""
    assert set(named.filename) <= _IN_FILENAMES
    assert named.filename[0] not in ".-"
    assert len(named.filename) <= 220
    assert names.is_name(named.name)
    assert names.normalize(named.project) == named.project
    assert named.version


def headers(data: bytes) -> None:
    """A value of the headers Authorization, Accept, Accept-Encoding, Range, If-None-Match and
    If-Modified-Since is understood or ignored."""
    value = data.translate(None, b"\r\n\0").decode("latin-1")
    credentials = login._credentials(value)
    if credentials is not None:
        assert is_token(credentials.password) or ":" not in credentials.user
        has_valid_checksum(credentials.password)
    assert negotiate.negotiate(value) in (*negotiate.OFFERS, None)
    assert negotiate.negotiate(value, negotiate.JSON) == negotiate.JSON
    negotiate.accepts_gzip(value)

    file = cast(Any, SimpleNamespace(size=_SIZE, mtime=0, etag='"0-3e8"'))
    with suppress(falcon.HTTPRangeNotSatisfiable):
        asked = files._range(create_req(headers={"Range": value, "If-Range": '"0-3e8"'}), file)
        assert asked is None or 0 <= asked[0] < asked[1] <= _SIZE
    for name in ("If-None-Match", "If-Modified-Since"):
        static.is_known(create_req(headers={name: value}), file, dated=True)


SUBJECTS: dict[str, Callable[[bytes], None]] = {
    "form": form,
    "filenames": filenames,
    "headers": headers,
    "wheel": archives.wheel,
    "sdist": archives.sdist,
    "metadata": archives.metadata,
}
