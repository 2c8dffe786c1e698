"""Yanks that change upstream after a file was taken.

A yank is followed for a file that came from the same index, if the yank here is the one that the
index had when it was last compared: what an operator decided stays. The projects of a run are
compared, with all their files.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from appliance.catalog.database import Catalog
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.index.model import File, Origin
from appliance.index.names import distribution
from appliance.mirror.taking import index_url, one_line
from appliance.operations import decisions
from appliance.spec import Spec
from appliance.upstream import Client, RemoteProject


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """A file of the index that came from an upstream."""

    file: File
    origin: Origin


async def follow(spec: Spec, index: str, filenames: Collection[str], client: Client) -> list[str]:
    """Yank and unyank the files of the projects of ``filenames`` as their upstream does; return a
    line for each change, and for each project whose page cannot be read."""
    projects = {named.project for name in filenames if (named := distribution(name))}
    known = _mirrored(spec, index, sorted(projects), client)
    pages = await asyncio.gather(*map(client.project, known), return_exceptions=True)

    changed: list[tuple[_Mirrored, str | None]] = []
    lines: list[str] = []
    for (name, files), page in zip(known.items(), pages, strict=True):
        if isinstance(page, PyindexError):
            lines.append(f"{name}: yanks not compared: {page}")
        elif isinstance(page, BaseException):
            raise page
        elif page is not None:
            changed += _changes(files, page)
    if changed:

        def changes(change: Writer) -> None:
            lines.extend(_apply(change, index, changed))

        decisions.decide(spec, changes)
    return lines


def _mirrored(
    spec: Spec, index: str, projects: list[str], client: Client
) -> Mapping[str, list[_Mirrored]]:
    """Return the files of projects that came from an index of the client, by project."""
    asked = {index_url(url) for url in client.upstreams.indexes}
    known: dict[str, list[_Mirrored]] = {}
    with Catalog(spec.catalog).read() as reader:
        for name, project in reader.named(index, projects).items():
            origins = reader.origins(index, project.files)
            for file in project.files:
                origin = origins.get(file.filename)
                if origin is not None and origin.upstream in asked:
                    known.setdefault(name, []).append(_Mirrored(file, origin))
    return known


def _changes(files: list[_Mirrored], page: RemoteProject) -> Iterator[tuple[_Mirrored, str | None]]:
    """Yield the files whose yank is another one upstream than before, with the new one."""
    there = {(file.filename, index_url(file.index)): file for file in page.files}
    for each in files:
        file = there.get((each.file.filename, each.origin.upstream or ""))
        if file is not None and file.sha256 in (None, each.file.sha256):
            new = None if file.yanked is None else one_line(file.yanked)
            if new != each.origin.yanked:
                yield each, new


def _apply(
    change: Writer, index: str, changed: list[tuple[_Mirrored, str | None]]
) -> Iterator[str]:
    for each, new in changed:
        name, before = each.file.filename, each.origin.yanked
        now = change.file(index, name)
        change.set_origins(index, [replace(each.origin, yanked=new)])
        what = "unyanked" if new is None else f"yanked ({new})" if new else "yanked"
        if now is None or now.sha256 != each.file.sha256:
            continue
        if now.yanked == before:
            change.yank(index, name, new)
            yield f"{name}: {what} upstream; done here, too"
        elif now.yanked != new:
            yield f"{name}: {what} upstream; kept as an operator decided here"
