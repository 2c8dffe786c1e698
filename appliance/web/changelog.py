"""What mirrors that speak XML-RPC ask (bandersnatch before 8): all projects with their serials, and
the journal. Of an index with bases it is what all of them have, as its pages show it.

Answers are made in parts, so that they take no memory to speak of and no view of the catalog is
kept open for a slow client.
"""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from appliance.catalog.database import Catalog
from appliance.index.model import Change

_LARGEST = 50_000  # lines of the journal, as from PyPI; whoever gets as many asks again
_PART = 1000
_HEAD = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>"
_TAIL = "</value>\n</param>\n</params>\n</methodResponse>\n"


def projects(catalog: Catalog, indexes: Sequence[str]) -> Iterator[str]:
    """``list_packages_with_serial``: a struct of normalised names and last serials."""
    head, after = f"{_HEAD}<struct>\n", ""
    while True:
        with catalog.read() as reader:
            known = {name for index in indexes for name in reader.names(index, after, _PART)}
            names = sorted(known)[:_PART]
            serials = reader.last_serials(indexes, names)
        # A normalised name has nothing in it to escape.
        yield head + "".join(
            f"<member><name>{name}</name><value><int>{serials[name]}</int></value></member>\n"
            for name in names
        )
        if not names:
            break
        head, after = "", names[-1]
    yield f"</struct>{_TAIL}"


def changes(catalog: Catalog, indexes: Sequence[str], since: int) -> Iterator[str]:
    """``changelog_since_serial``: an array of [name, version, time, action, serial]. None is told
    before it is published."""
    head, since, left = f"{_HEAD}<array><data>\n", min(max(since, 0), 1 << 62), _LARGEST
    while left > 0:
        with catalog.read() as reader:
            published = reader.mark("pages")
            lines = reader.changes_of(indexes, since, min(left, _PART))
        told = [line for line in lines if line.serial <= published]
        yield head + "".join(map(_line, told))
        if len(told) < _PART:
            break
        head, since, left = "", told[-1].serial, left - len(told)
    yield f"</data></array>{_TAIL}"


def _line(change: Change) -> str:
    action = f"{change.action} {change.filename}" if change.filename else change.action
    version = "<nil/>" if change.version is None else f"<string>{escape(change.version)}</string>"
    return (
        f"<value><array><data><value><string>{change.project}</string></value>"
        f"<value>{version}</value><value><int>{change.time // 1_000_000}</int></value>"
        f"<value><string>{escape(action)}</string></value>"
        f"<value><int>{change.serial}</int></value></data></array></value>\n"
    )
