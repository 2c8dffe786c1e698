"""Hostile forms of a client that may upload: each is refused, with a part of the reason."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.uploads.forms import BOUNDARY, encode, fields_of

WHEEL = "foo-1.0-py2.py3-none-any.whl"
_END = f"--{BOUNDARY}--\r\n".encode()


class HostileForm(NamedTuple):
    """How a valid form of a wheel is changed, and what its sender is told.

    Attributes:
        reason: A part of the status line.
        fields: Fields that replace those of the form.
        filename: Name of the file.
        change: Changes the body.
    """

    reason: str
    fields: Mapping[str, str] = {}
    filename: str = WHEEL
    change: Callable[[bytes], bytes] = bytes

    def body(self, wheel: bytes) -> bytes:
        known = fields_of("foo", "1.0", wheel, "bdist_wheel")
        return self.change(encode({**known, **self.fields}, self.filename, wheel))


def _before_end(data: bytes) -> Callable[[bytes], bytes]:
    """Return a change that adds ``data`` as more parts."""
    return lambda body: body.removesuffix(_END) + data + _END


def _part(headers: str, value: str = "x") -> bytes:
    return f"--{BOUNDARY}\r\n{headers}\r\n\r\n{value}\r\n".encode()


_FIELD = 'Content-Disposition: form-data; name="{}"'
_CHARACTERS = "400 Invalid file name"
_FILENAMES = {
    "path that leads out": f"../../{WHEEL}",
    "absolute path": f"/etc/{WHEEL}",
    "path of Windows": f"..\\{WHEEL}",
    "hidden name": f".{WHEEL}",
    "zero byte": f"{WHEEL}\0.whl",
    "other digits": WHEEL.replace("1.0", "１.0"),
    "other letters": WHEEL.replace("foo", "ｆoo"),
    "right to left": f"\u202e{WHEEL}",
    "script": "<script>-1.0.zip",
    "signature": f"{WHEEL}.asc",
    "metadata": f"{WHEEL}.metadata",
    "directory of uploads": ".pyindex-uploads",
    "long name": f"foo-1.0-{'a' * 250}-none-any.whl",
}
_NAMES = ("../x", "<script>", "ｆoo", "g%6f", "foo\0", "..", "foo/x", "-")

UPLOADS = {
    **{
        f"file name: {name}": HostileForm(_CHARACTERS, {}, text)
        for name, text in _FILENAMES.items()
    },
    **{
        f"name {name!r}": HostileForm("is not the name of a project", {"name": name})
        for name in _NAMES
    },
    "line end in the version": HostileForm(r"says foo 1.0\r\nX: y", {"version": "1.0\r\nX: y"}),
    "path in the version": HostileForm("the form says foo ../1", {"version": "../1"}),
    "other release": HostileForm("the form says foo 2", {"version": "2"}),
    "other project": HostileForm("the form says bar 1.0", {"name": "bar"}),
    "header in the action": HostileForm(
        r"400 Unknown :action 'x\\r\\nSet-Cookie: a=b'", {":action": "x\r\nSet-Cookie: a=b"}
    ),
    "other content": HostileForm("does not match", {"sha256_digest": "0" * 64}),
    "long field": HostileForm("longer than 4096 bytes", {"name": "f" * 200_000}),
    "many fields": HostileForm(
        "segment count", {}, WHEEL, _before_end(_part(_FIELD.format("x")) * 10_001)
    ),
    "large fields": HostileForm(
        "more than 16777216 bytes",
        {},
        WHEEL,
        _before_end(_part(_FIELD.format("x"), "x" * (1 << 24))),
    ),
    "two names": HostileForm(
        "two fields named name", {}, WHEEL, _before_end(_part(_FIELD.format("name")))
    ),
    "two files": HostileForm(
        "two files", {}, WHEEL, _before_end(_part(f'{_FIELD.format("content")}; filename="x"'))
    ),
    "large head of a part": HostileForm(
        "header length", {}, WHEEL, _before_end(_part(f"X: {'x' * 1_000_000}"))
    ),
    "many heads of a part": HostileForm(
        "header count", {}, WHEEL, _before_end(_part("X: y\r\n" * 10_000))
    ),
    "no boundary": HostileForm(
        "does not begin with its boundary", {}, WHEEL, lambda body: b"x" * 5000 + body
    ),
    "no end": HostileForm("Unexpected end", {}, WHEEL, lambda body: body.removesuffix(_END)),
    "signature that is a page": HostileForm("does not begin", {"gpg_signature": "<script>"}),
    "nested attestations": HostileForm("recursion", {"attestations": "[" * 100_000}),
    "attestations of a huge number": HostileForm("4300 digits", {"attestations": "9" * 5000}),
}
