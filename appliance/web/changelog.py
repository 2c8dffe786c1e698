"""XML-RPC answers for mirrors (bandersnatch before 8): all projects with their serials, and the
journal. The answers of an index with bases cover the bases too, as its pages do.

Answers are made in batches, each from its own view of the catalog: a slow client keeps no view open
and costs little memory.
"""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from appliance.catalog.database import Catalog
from appliance.index.model import Change
from appliance.web.login import Readable

_MOST_CHANGES = 50_000  # changes, as from PyPI; a mirror that gets as many asks again
_BATCH = 1000
_HEAD = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>"
_TAIL = "</value>\n</param>\n</params>\n</methodResponse>\n"


def projects(catalog: Catalog, indexes: Sequence[str], readable: Readable) -> Iterator[str]:
    """``list_packages_with_serial``: a struct of normalized names and last serials."""
    head, after = f"{_HEAD}<struct>\n", ""
    while True:
        with catalog.read() as reader:
            following = {name for index in indexes for name in reader.names(index, after, _BATCH)}
            names = sorted(following)[:_BATCH]
            serials = reader.last_serials(indexes, names)

        # A normalized name has no characters to escape.
        yield head + "".join(
            f"<member><name>{name}</name><value><int>{serials[name]}</int></value></member>\n"
            for name in names
            if readable(name)
        )
        if not names:
            break

        head, after = "", names[-1]
    yield f"</struct>{_TAIL}"


def changes(
    catalog: Catalog, indexes: Sequence[str], since: int, readable: Readable
) -> Iterator[str]:
    """``changelog_since_serial``: an array of [name, version, time, action, serial], as far as
    the changes have been published."""
    head, since = f"{_HEAD}<array><data>\n", min(max(since, 0), 1 << 62)
    remaining = _MOST_CHANGES
    while remaining > 0:
        with catalog.read() as reader:
            last_published = reader.mark("pages")
            batch = reader.changes_of(indexes, since, min(remaining, _BATCH))

        published = [change for change in batch if change.serial <= last_published]
        yield head + "".join(_array(change) for change in published if readable(change.project))
        if len(published) < _BATCH:
            break

        head, since = "", published[-1].serial
        remaining -= len(published)
    yield f"</data></array>{_TAIL}"


def _array(change: Change) -> str:
    action = f"{change.action} {change.filename}" if change.filename else change.action
    version = "<nil/>" if change.version is None else f"<string>{escape(change.version)}</string>"
    return (
        f"<value><array><data><value><string>{change.project}</string></value>"
        f"<value>{version}</value><value><int>{change.time // 1_000_000}</int></value>"
        f"<value><string>{escape(action)}</string></value>"
        f"<value><int>{change.serial}</int></value></data></array></value>\n"
    )
