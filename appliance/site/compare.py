"""What is published compared with the catalog: pages and markers that somebody removed or changed,
and those that stand for nothing."""

import gzip
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import files_below
from appliance.catalog.database import Catalog
from appliance.catalog.readiness import unscanned
from appliance.catalog.writer import SWEEP
from appliance.index.model import File
from appliance.index.names import METADATA, SIGNATURE
from appliance.site import pages
from appliance.site.publish import is_laid_out, packages_url, shown, unpublished, visible
from appliance.site.tree import PAGES, Site, page_time
from appliance.site.views import View
from appliance.spec import Spec
from appliance.text import has_controls, printable

_PROJECTS = 100
_FILES = 500
_LATER = sys.maxsize  # of what is not known: it is about to be published


@dataclass(frozen=True, slots=True)
class Lack:
    """Something of ``project``, which is of ``index``, that is not published as it should be."""

    index: str
    project: str
    path: str
    problem: str


def lacking(
    spec: Spec, catalog: Catalog, view: str, whole: bool = False
) -> Iterator[Sequence[Lack]]:
    """What readers of ``view`` lack of its pages, and of the files of that index; with ``whole``
    pages are read, and not only looked at. Yields after each portion, also where nothing is amiss.

    What is not published yet lacks nothing: the next publication writes it.
    """
    site, lineage = Site(spec), spec.lineage(view)
    for index in lineage if _is_shown(spec, catalog, view) else ():
        after = ""
        while True:
            with catalog.read() as reader:
                names = reader.names(index, after, _PROJECTS)
                serials = reader.last_serials(lineage, names)
            if not names:
                break
            after = names[-1]
            if not whole:
                names = [each for each in names if not _is_there(site, view, each, serials[each])]
            yield _pages(spec, catalog, view, names, whole) if names else ()
    after = ""
    while True:
        with catalog.read() as reader:
            files = reader.offered(view, after, _FILES)
        if not files:
            return
        some = [file for file in files if list(_missing(site, view, file))]
        yield _files(spec, catalog, view, some) if some else ()
        after = files[-1].path


def superfluous(spec: Spec, catalog: Catalog, view: str) -> Iterator[Lack]:
    """Pages of projects that ``view`` does not show, and markers of files that are not accepted."""
    site, top = Site(spec), Site(spec).marker(view, "")
    with catalog.read() as reader:
        if unscanned(reader, spec, view) or reader.mark(SWEEP):
            return  # much may be there that is about to be known, or swept
        accepted = {path: signed for path, signed, _ in reader.accepted(view)}
    strays = [path for path in files_below(top) if not _is_marked(accepted, path)]
    with catalog.read() as reader:
        since = reader.mark("pages")
        left = {path for index, path in reader.left(since) if index == view}
        for path in strays:
            if has_controls(path):
                yield Lack(view, "", printable(path), "no file of ours has such a name")
                continue
            plain = path.removesuffix(SIGNATURE)
            file = reader.file_at(view, path) or reader.file_at(view, plain)
            project = reader.project(view, file.project) if file else None
            pending = plain in left or path in left or (project and project.serial > since)
            is_offered = project and file in project.offered and (path == plain or file.signature)
            if not pending and not is_offered and os.path.lexists(top + path):
                text = "it may be fetched, though the catalog has no such file"
                yield Lack(view, file.project if file else "", path, text)
    if not _is_shown(spec, catalog, view):
        return
    with os.scandir(site.simple(view)) as found:
        names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    with catalog.read() as reader:
        serial, since = reader.serial(), reader.mark("pages")
        known = {row[0] for row in visible(reader, spec, view)}
    for name in names if serial == since else ():  # or one may be about to go
        if name not in known and site.simple(view, name).is_dir():
            yield Lack(view, name, f"simple/{name}/", "pages of a project that is not there")


def lists(spec: Spec, catalog: Catalog, view: str) -> Iterator[Lack]:
    """What is amiss with the project list of ``view``, or with all that readers see of it."""
    with catalog.read() as reader:
        if unscanned(reader, spec, view):
            return
        serial = max(reader.mark("lists"), 0)
    if not _is_shown(spec, catalog, view):
        yield Lack(view, "", "simple/", "nothing is published that is of this spec and catalog")
        return
    for page in PAGES:
        found = _serial(Site(spec).simple(view) / page)
        if found is None or found < serial:
            problem = "missing" if found is None else f"shows serial {found}, not {serial}"
            yield Lack(view, "", f"simple/{page}", f"published list: {problem}")


def _is_shown(spec: Spec, catalog: Catalog, view: str) -> bool:
    """Whether the pages that readers of ``view`` see are those of this catalog and spec."""
    of = View(spec, Site(spec), view)
    with catalog.read() as reader:
        return is_laid_out(spec) and of.is_live(reader.mark(of.mark))


def _is_there(site: Site, view: str, name: str, serial: int) -> bool:
    """Whether the pages of a project show a serial, judged by their mtimes."""
    directory, time = site.simple(view, name), page_time(serial)
    try:
        return all(int((directory / page).stat().st_mtime) == time for page in PAGES)
    except OSError:
        return False


def _pages(
    spec: Spec, catalog: Catalog, view: str, names: Sequence[str], whole: bool
) -> list[Lack]:
    """What is amiss with the pages of these projects, by what is known now."""
    site, kept = Site(spec), unpublished(spec)
    lacks = []
    with catalog.read() as reader:
        since = reader.mark("pages")
        for name, project in shown(reader, spec, view, names).items():
            is_due = project is not None and 0 < project.serial <= since
            if project is None or not is_due or f"{project.index}/{name}" in kept:
                continue
            content = {}
            if whole:
                content = pages.project_pages(project, packages_url(spec, view, project.index))
            for page in PAGES:
                place = site.simple(view, name) / page
                if problem := _problem(place, project.serial, content.get(page)):
                    text = f"published page: {problem}"
                    lacks.append(Lack(project.index, name, f"simple/{name}/{page}", text))
    return _still(lacks, catalog, since, spec.lineage(view))


def _problem(place: Path, serial: int, content: bytes | None) -> str | None:
    found = _serial(place)
    if found is None:
        return "missing"
    if found != serial:
        return f"shows serial {found}, not {serial}"
    if content is None:
        return None
    try:
        is_same = _text(place.name, place.read_bytes()) == _text(place.name, content)
    except (OSError, EOFError, ValueError) as error:
        return f"cannot be read: {error}"
    return None if is_same else "its bytes changed"


def _text(name: str, content: bytes) -> bytes:
    """What a page says: another release of zlib makes other bytes of it."""
    return gzip.decompress(content) if name.endswith(".gz") else content


def _serial(place: Path) -> int | None:
    """The serial that a page shows by its mtime, -1 for one that is none; ``None`` without it."""
    try:
        digits = f"{int(place.stat().st_mtime):x}"
    except OSError:
        return None
    return int(digits) if digits.isdecimal() else -1


def _files(spec: Spec, catalog: Catalog, index: str, files: Sequence[File]) -> list[Lack]:
    """What is amiss with the markers of these files, by what is known now."""
    site, kept = Site(spec), unpublished(spec)
    with catalog.read() as reader:
        since = reader.mark("pages")
        serials = reader.last_serials([index], sorted({file.project for file in files}))
        now = {file.path for file in reader.offered_at(index, [file.path for file in files])}
        lacks = [
            Lack(index, file.project, path, text)
            for file in files
            if file.path in now and serials.get(file.project, _LATER) <= since
            if f"{index}/{file.project}" not in kept
            for path, text in _missing(site, index, file)
        ]
    return _still(lacks, catalog, since, [index])


def _missing(site: Site, index: str, file: File) -> Iterator[tuple[str, str]]:
    """The paths of a file, its signature and its metadata that cannot be fetched, but should be;
    and why."""
    for path in [file.path, file.path + SIGNATURE] if file.signature else [file.path]:
        if not site.is_accepted(index, path):
            yield path, "it cannot be fetched: its marker is missing"
    if file.core_metadata is not None and not os.path.lexists(site.metadata(index, file.path)):
        yield file.path + METADATA, "it cannot be fetched: it is missing"


def _is_marked(accepted: dict[str, bool], path: str) -> bool:
    return path in accepted or (
        path.endswith(SIGNATURE) and accepted.get(path.removesuffix(SIGNATURE), False)
    )


def _still(lacks: list[Lack], catalog: Catalog, since: int, indexes: Sequence[str]) -> list[Lack]:
    """Those of projects that did not change meanwhile, in none of ``indexes``."""
    if not lacks:
        return lacks
    with catalog.read() as reader:
        serials = reader.last_serials(indexes, sorted({lack.project for lack in lacks}))
    return [lack for lack in lacks if serials.get(lack.project, _LATER) <= since]
