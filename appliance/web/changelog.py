"""XML-RPC answers for mirrors (bandersnatch before 8): all projects with their serials, and the
journal. The answers of an index with bases cover the bases too, as its pages do.

Answers are made in batches, each from its own view of the catalog: a slow client keeps no view open
and costs little memory.
"""

from collections.abc import Callable, Iterator, Sequence
from xml.sax.saxutils import escape

from appliance.catalog.database import Catalog
from appliance.index.model import Change

Shown = Callable[[str, str], bool]
"""Whether the client may know of a project of an index, by their names."""

_MOST_CHANGES = 50_000  # changes, as from PyPI; a mirror that gets as many asks again
_BATCH = 1000
_HEAD = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>"
_TAIL = "</value>\n</param>\n</params>\n</methodResponse>\n"


def projects(catalog: Catalog, indexes: Sequence[str], is_shown: Shown) -> Iterator[str]:
    """``list_packages_with_serial``: a struct of normalized names and last serials."""
    head, after = f"{_HEAD}<struct>\n", ""
    while True:
        with catalog.read() as reader:
            following = {index: reader.names(index, after, _BATCH) for index in indexes}
            names = sorted(set().union(*following.values()))[:_BATCH]
            serials = reader.last_serials(indexes, names)

        shown = {n for index, some in following.items() for n in some if is_shown(index, n)}
        # A normalized name has no characters to escape.
        yield head + "".join(
            f"<member><name>{name}</name><value><int>{serials[name]}</int></value></member>\n"
            for name in names
            if name in shown
        )
        if not names:
            break

        head, after = "", names[-1]
    yield f"</struct>{_TAIL}"


def changes(catalog: Catalog, indexes: Sequence[str], since: int, is_shown: Shown) -> Iterator[str]:
    """``changelog_since_serial``: an array of [name, version, time, action, serial], as far as
    the changes have been published."""
    head, since = f"{_HEAD}<array><data>\n", min(max(since, 0), 1 << 62)
    remaining = _MOST_CHANGES
    while remaining > 0:
        with catalog.read() as reader:
            last_published = reader.mark("pages")
            batch = reader.changes_of(indexes, since, min(remaining, _BATCH))

        published = [change for change in batch if change.serial <= last_published]
        shown = (change for change in published if is_shown(change.index, change.project))
        yield head + "".join(map(_array, shown))
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
