"""Comparison of the published tree with the catalog: missing, changed and extra entries."""

import gzip
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import files_below
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import open_index
from appliance.catalog.reader import Reader
from appliance.catalog.readiness import unscanned
from appliance.catalog.writer import SWEEP
from appliance.index.model import File, Project
from appliance.index.names import METADATA, split_companion
from appliance.site.digests import digest_links
from appliance.site.layout import is_laid_out
from appliance.site.projects import page_contents, page_names, unpublished
from appliance.site.tree import PAGES, Site, page_time
from appliance.site.views import View
from appliance.spec import Spec
from appliance.text import has_controls, printable

_PROJECTS = 100
_FILES = 500
_LATER = sys.maxsize  # serial of an unknown project: it is about to be published


@dataclass(frozen=True, slots=True)
class Difference:
    """Path of a ``project`` of ``index`` that is not published as the catalog requires."""

    index: str
    project: str
    path: str
    problem: str


class Comparison:
    """Comparison of the published pages and markers of one index with the catalog.

    Changes that are not published yet are no differences: the next publication writes them.
    """

    def __init__(self, spec: Spec, catalog: Catalog, name: str) -> None:
        self._spec, self._catalog, self._name = spec, catalog, name
        self._site = Site(spec)
        self._view = View(spec, self._site, name)
        self._pages = page_names(spec, name)
        self._links = digest_links(self._site).get(name)

    def lists(self) -> Iterator[Difference]:
        """Yield the differences of the project list, or of the whole view."""
        with self._catalog.read() as reader:
            if unscanned(reader, self._spec, self._name):
                return
            serial = max(reader.mark("lists"), 0)

        if not self._is_live():
            text = "no pages published for this spec and catalog"
            yield Difference(self._name, "", "simple/", text)
            return
        for page in PAGES:
            shown = _serial(self._site.simple(self._name) / page)
            if shown is None or shown < serial:
                problem = "missing" if shown is None else f"serial {shown}, expected {serial}"
                yield Difference(self._name, "", f"simple/{page}", f"published list: {problem}")

    def missing(self, whole: bool = False) -> Iterator[Sequence[Difference]]:
        """Yield missing and outdated pages, and missing markers and metadata of the index's own
        files; ``whole`` also compares the content of pages. Yields after each portion, also an
        empty one."""
        for index in self._spec.lineage(self._name) if self._is_live() else ():
            yield from self._missing_pages(index, whole)
        yield from self._missing_files()

    def extra(self) -> Iterator[Difference]:
        """Yield pages of projects that the index does not have, and markers of files that are not
        accepted."""
        with self._catalog.read() as reader:
            if unscanned(reader, self._spec, self._name) or reader.mark(SWEEP):
                return  # an extra entry may be about to be accepted, or swept

        yield from self._extra_markers()
        for path in self._links.strays() if self._links else ():
            yield Difference(self._name, "", printable(path), "link by digest, but no such file")
        if self._is_live():
            yield from self._extra_pages()

    def _is_live(self) -> bool:
        """Return whether the published pages are those of this catalog and spec."""
        with self._catalog.read() as reader:
            return is_laid_out(self._spec) and self._view.is_live(reader.mark(self._view.mark))

    # --- pages ---------------------------------------------------------------------------------

    def _missing_pages(self, index: str, whole: bool) -> Iterator[Sequence[Difference]]:
        lineage, after = self._spec.lineage(self._name), ""
        while True:
            with self._catalog.read() as reader:
                names = reader.names(index, after, _PROJECTS)
                serials = reader.last_serials(lineage, names)
            if not names:
                return
            after = names[-1]

            suspects = [each for each in names if whole or not self._has_pages(each, serials[each])]
            yield self._compare_pages(suspects, whole) if suspects else ()

    def _has_pages(self, project: str, serial: int) -> bool:
        """Return whether the pages of a project show a serial, by their mtimes."""
        directory, mtime = self._site.simple(self._name, project), page_time(serial)
        try:
            return all(int((directory / page).stat().st_mtime) == mtime for page in self._pages)
        except OSError:
            return False

    def _compare_pages(self, names: Sequence[str], whole: bool) -> list[Difference]:
        """Return the differences of the pages of these projects from the current catalog."""
        failed = unpublished(self._spec)
        differences: list[Difference] = []
        with self._catalog.read() as reader:
            since = reader.mark("pages")
            projects = open_index(reader, self._spec, self._name).named(names)
            for name, project in projects.items():
                if 0 < project.serial <= since and f"{project.index}/{name}" not in failed:
                    differences += self._compare_project(project, whole)
        return self._unchanged(differences, since, self._spec.lineage(self._name))

    def _compare_project(self, project: Project, whole: bool) -> Iterator[Difference]:
        content = {}
        if whole:
            content = page_contents(self._spec, self._name, project)

        for page in self._pages:
            path = self._site.simple(self._name, project.name) / page
            if problem := _problem(path, project.serial, content.get(page)):
                name, text = f"simple/{project.name}/{page}", f"published page: {problem}"
                yield Difference(project.index, project.name, name, text)

    def _extra_pages(self) -> Iterator[Difference]:
        with os.scandir(self._site.simple(self._name)) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        with self._catalog.read() as reader:
            if reader.serial() != reader.mark("pages"):
                return  # an extra page may be about to be removed
            known = {row.name for row in open_index(reader, self._spec, self._name).projects()}

        for name in names:
            if name not in known and self._site.simple(self._name, name).is_dir():
                text = "pages of a project that the index does not have"
                yield Difference(self._name, name, f"simple/{name}/", text)

    # --- files ---------------------------------------------------------------------------------

    def _missing_files(self) -> Iterator[Sequence[Difference]]:
        after = ""
        while True:
            with self._catalog.read() as reader:
                files = open_index(reader, self._spec, self._name).files(after, _FILES)
            if not files:
                return
            after = files[-1].path

            suspects = [file for file in files if any(self._missing_paths(file))]
            yield self._compare_files(suspects) if suspects else ()

    def _compare_files(self, files: Sequence[File]) -> list[Difference]:
        """Return the differences of the markers of these files from the current catalog."""
        failed = unpublished(self._spec)
        with self._catalog.read() as reader:
            since = reader.mark("pages")
            serials = reader.last_serials([self._name], sorted({file.project for file in files}))
            now = {file.path for file in reader.offered_at(self._name, [f.path for f in files])}

            differences = [
                Difference(self._name, file.project, path, text)
                for file in files
                if file.path in now and serials.get(file.project, _LATER) <= since
                if f"{self._name}/{file.project}" not in failed
                for path, text in self._missing_paths(file)
            ]
        return self._unchanged(differences, since, [self._name])

    def _missing_paths(self, file: File) -> Iterator[tuple[str, str]]:
        """Yield those of the paths of a file, its companions and its metadata that clients cannot
        download but should, with the reason."""
        for path in [file.path, *(file.path + ending for ending in file.companions)]:
            if not self._site.is_accepted(self._name, path):
                yield path, "not served: marker missing"

        if self._links and not self._links.has(file):
            yield file.path, "not served by its digest: link missing"

        metadata = self._site.metadata(self._name, file.path)
        if file.core_metadata is not None and not os.path.lexists(metadata):
            yield file.path + METADATA, "not served: metadata missing"

    def _extra_markers(self) -> Iterator[Difference]:
        top = self._site.marker(self._name, "")
        with self._catalog.read() as reader:
            accepted = {path: endings for path, endings, _ in reader.accepted(self._name)}
        strays = [path for path in files_below(top) if not _is_marked(accepted, path)]

        with self._catalog.read() as reader:
            since = reader.mark("pages")
            removed = {path for index, path in reader.removed_since(since) if index == self._name}
            for path in strays:
                if has_controls(path):
                    text = "unexpected file name"
                    yield Difference(self._name, "", printable(path), text)
                elif not removed & {path, split_companion(path)[0]}:
                    yield from self._compare_marker(reader, path, since)

    def _compare_marker(self, reader: Reader, path: str, since: int) -> Iterator[Difference]:
        """Yield the difference of one marker that seems to be extra from the current catalog."""
        plain, ending = split_companion(path)
        file = reader.file_at(self._name, path) or reader.file_at(self._name, plain)
        project = reader.project(self._name, file.project) if file else None
        if project and project.serial > since:
            return  # it is about to be published

        is_companion = file is not None and ending in file.companions
        is_offered = project and file in project.offered and (path == plain or is_companion)
        if not is_offered and os.path.lexists(self._site.marker(self._name, path)):
            text = "served, but not in the catalog"
            yield Difference(self._name, file.project if file else "", path, text)

    def _unchanged(
        self, differences: list[Difference], since: int, indexes: Sequence[str]
    ) -> list[Difference]:
        """Return the differences of projects that did not change meanwhile in ``indexes``."""
        if not differences:
            return []
        with self._catalog.read() as reader:
            names = sorted({each.project for each in differences})
            serials = reader.last_serials(indexes, names)
        return [each for each in differences if serials.get(each.project, _LATER) <= since]


def _problem(path: Path, serial: int, content: bytes | None) -> str | None:
    """Return why a page does not have this serial, or this content if given."""
    shown = _serial(path)
    if shown is None:
        return "missing"
    if shown != serial:
        return f"serial {shown}, expected {serial}"
    if content is None:
        return None

    try:
        is_same = _text(path.name, path.read_bytes()) == _text(path.name, content)
    except (OSError, EOFError, ValueError) as error:
        return f"not readable: {error}"
    return None if is_same else "content changed"


def _text(name: str, content: bytes) -> bytes:
    """Return the uncompressed page: another release of zlib compresses to other bytes."""
    return gzip.decompress(content) if name.endswith(".gz") else content


def _serial(path: Path) -> int | None:
    """Return the serial in a page's mtime, -1 if it is not one, ``None`` without a page."""
    try:
        digits = f"{int(path.stat().st_mtime):x}"
    except OSError:
        return None
    return int(digits) if digits.isdecimal() else -1


def _is_marked(accepted: dict[str, tuple[str, ...]], path: str) -> bool:
    """Return whether the path of a marker is that of an accepted file or of a companion."""
    package, ending = split_companion(path)
    return path in accepted or ending in accepted.get(package, ())
