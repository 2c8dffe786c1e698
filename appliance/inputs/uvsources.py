"""Sources and indexes of ``[tool.uv]``: which requirements come from no index, and the indexes."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from appliance.inputs.demand import Options, Unbuilt, Wanted
from appliance.inputs.documents import Table
from appliance.inputs.unbuilt import directory, from_requirement, git

_KINDS = {
    "git": "a Git repository",
    "path": "a path",
    "url": "a URL",
    "workspace": "a member of the workspace",
}


def unbuilt_sources(root: Table, wanted: Iterable[Wanted]) -> dict[Unbuilt, Wanted]:
    """The requirements whose source is no index; which ones stays with the requirement.

    A source with a marker counts on every target: the markers of uv's sources are not those of the
    requirement.
    """
    sources = root.table("tool", "uv", "sources")
    base = Path(root.file).parent
    spelled = {canonicalize_name(name): name for name in sources}
    unbuilt = {}
    for each in wanted:
        name = spelled.get(canonicalize_name(each.requirement.name))
        kind, source = next(_kinds(sources, name), (None, root)) if name else (None, root)
        if kind is not None:
            line, where = str(each.requirement), sources.where(name or "")
            location = _location(source, base)
            unbuilt[from_requirement(line, where, kind, each.requirement, location)] = each
    return unbuilt


def _kinds(sources: Table, name: str) -> Iterator[tuple[str, Table]]:
    value = sources.values[name]
    tables = [sources.table(name)] if isinstance(value, dict) else sources.tables(name)
    for table in tables:
        for key, kind in _KINDS.items():
            if key in table:
                yield kind, table


def _location(source: Table, base: Path) -> str:
    """Where the sources are; "" for a member of the workspace, whose directory is not named."""
    subdirectory = source.optional_text("subdirectory")
    if url := source.optional_text("git"):
        references = (source.optional_text(name) for name in ("rev", "tag", "branch"))
        return git(url, next(filter(None, references), None), subdirectory)
    if path := source.optional_text("path"):
        return directory(base, path, subdirectory)
    return source.optional_text("url") or ""


def index_options(root: Table) -> Options:
    """The indexes: the one that is the default, and the others."""
    uv = root.table("tool", "uv")
    tables = list(uv.tables("index"))
    default = [each.text("url") for each in tables if each.flag("default")]
    others = [each.text("url") for each in tables if not each.flag("default")]
    if url := uv.optional_text("index-url"):
        default.append(url)
    return Options(
        index_url=next(iter(default), None),
        extra_index_urls=(*others, *uv.texts("extra-index-url")),
        find_links=tuple(uv.texts("find-links")),
        no_index=uv.flag("no-index"),
    )
