"""Project lists. They are rendered in blocks, which are kept: a change of a project costs the
rendering of its block, and not of the list."""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from appliance.catalog.indexes import open_index
from appliance.catalog.reader import Reader
from appliance.index.index import Index, Listed
from appliance.index.names import normalize
from appliance.site import pages
from appliance.site.pages import Part, part
from appliance.spec import Spec

_PROJECTS = 128  # in a new block; one with twice as many is divided
_HEAD = pages.environment.from_string(
    """\
<!DOCTYPE html>
<html lang="en"><!--SERIAL {{ serial }}-->
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="{{ version }}">
<title>Simple index</title>
</head>
<body>
"""
)
_TAIL, _JSON_TAIL = b"</body>\n</html>\n", b"]}"
_COMMA = part(b",")


class _Block(NamedTuple):
    """Adjacent projects of a list: their lines in HTML and their objects in JSON."""

    html: Part
    json: Part


class ProjectList:
    """The list of the projects of the index ``name`` with its bases, as far as it was read."""

    def __init__(self, spec: Spec, name: str) -> None:
        self._spec, self._name = spec, name
        self._lineage = frozenset(spec.lineage(name))
        self._forget(0)

    def _forget(self, catalog: int) -> None:
        self._catalog, self._serial = catalog, 0
        self._first = [""]  # for each block the first name that belongs into it
        self._blocks = [_block([])]

    def read(self, reader: Reader, catalog: int) -> None:
        """Read what changed since the last reading; all if that was of another ``catalog``, a
        number of the catalog that the view is made from."""
        if catalog != self._catalog:
            self._forget(catalog)
        blocks = {bisect_right(self._first, name) - 1 for name in self._changed(reader)}
        index = open_index(reader, self._spec, self._name)
        for number in sorted(blocks, reverse=True):  # a division moves those behind it
            self._read_block(index, number)
        self._serial = reader.serial()

    def _changed(self, reader: Reader) -> list[str]:
        """Return the names of the projects to read again; one stands for all at first."""
        if not self._serial:
            return [""]
        changes = reader.changed_projects(self._serial)
        return [name for index, name in changes if index in self._lineage]

    def _read_block(self, index: Index, number: int) -> None:
        first, *others = self._first[number : number + 2]
        rows = list(index.projects(first, *others))
        parts = _divided(rows) if len(rows) >= 2 * _PROJECTS else [rows]
        blocks = [_block(each) for each in parts]  # before any change: an error leaves both lists
        self._first[number : number + 1] = [first, *(each[0].name for each in parts[1:])]
        self._blocks[number : number + 1] = blocks

    def render(self, serial: int) -> dict[str, bytes]:
        """Return the four files of the list by name (see :data:`tree.PAGES`)."""
        objects = [part(_json_head(serial))]
        for block in self._blocks:
            if block.json.plain:
                objects += [_COMMA, block.json] if len(objects) > 1 else [block.json]
        lines = [part(_html_head(serial)), *(block.html for block in self._blocks)]
        return pages.variants([*lines, part(_TAIL)], [*objects, part(_JSON_TAIL)])


def part_of_list(page: bytes, included: Callable[[str], bool], is_json: bool) -> bytes:
    """Return the project list whose JSON is ``page`` with the included projects alone (by their
    normalized names), as JSON or HTML."""
    body = json.loads(page)
    serial = body["meta"]["_last-serial"]
    listed = ((project["name"], project["_last-serial"]) for project in body["projects"])
    rows = [Listed(normalize(display), display, last) for display, last in listed]
    rows = [row for row in rows if included(row.name)]
    if is_json:
        return _json_head(serial) + _objects(rows) + _JSON_TAIL
    return _html_head(serial) + _lines(rows) + _TAIL


def _divided(rows: Sequence[Listed]) -> list[Sequence[Listed]]:
    return [rows[start : start + _PROJECTS] for start in range(0, len(rows), _PROJECTS)]


def _block(rows: Sequence[Listed]) -> _Block:
    return _Block(part(_lines(rows)), part(_objects(rows)))


def _html_head(serial: int) -> bytes:
    return _HEAD.render(serial=serial, version=pages.API_VERSION).encode()


def _lines(rows: Sequence[Listed]) -> bytes:
    """Return lines in HTML, without a template, since there may be many."""
    escape = pages.escape
    lines = (f'<a href="{escape(name)}/">{escape(shown)}</a><br>\n' for name, shown, _ in rows)
    return "".join(lines).encode()


def _json_head(serial: int) -> bytes:
    meta = pages.dump({"api-version": pages.API_VERSION, "_last-serial": serial})
    return b'{"meta":' + meta + b',"projects":['


def _objects(rows: Sequence[Listed]) -> bytes:
    """Return objects in JSON, with commas between them."""
    return pages.dump([{"name": row.display, "_last-serial": row.serial} for row in rows])[1:-1]
