"""Publication of projects, many at a time: pages, markers and metadata. A project that cannot be
rendered keeps its previous pages."""

import errno
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from appliance.atomic import Batch
from appliance.catalog.indexes import open_index
from appliance.catalog.journal import Touched
from appliance.catalog.reader import Reader
from appliance.errors import PyindexError
from appliance.index.model import Project
from appliance.site import pages
from appliance.site.files import FilePublisher
from appliance.site.layout import packages_url
from appliance.site.tree import PAGES, STAND_IN_PAGES, Site, page_time
from appliance.spec import Spec

log = logging.getLogger(__name__)

_OF_A_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EILSEQ)

Changed = Sequence[tuple[str, str]]
"""Pairs of index and project name."""


class ProjectPublisher:
    """Publisher of the projects of all indexes of ``spec``.

    Attributes:
        directories: Directory of the pages of each index, by its name.
    """

    def __init__(self, spec: Spec, site: Site, files: FilePublisher) -> None:
        self._spec, self._site, self._files = spec, site, files
        self._failed: dict[str, str] = {}
        self.directories: dict[str, Path] = {}

    def publish(self, reader: Reader, changed: Changed, touched: Touched | None) -> None:
        """Publish projects with their ``touched`` files, or with all files without that.

        A project that cannot be rendered does not stop the others. Raises errors that concern
        all projects, such as a full disk.
        """
        try:
            self._publish(reader, changed, touched)
        except Exception as error:
            if _is_of_all(error, reader):
                raise
            if len(changed) == 1:
                log.exception("%s/%s: cannot be published", *changed[0])
                self._failed["/".join(changed[0])] = f"{type(error).__name__}: {error}"
                return

            middle = len(changed) // 2
            self.publish(reader, changed[:middle], touched)
            self.publish(reader, changed[middle:], touched)

    def _publish(self, reader: Reader, changed: Changed, touched: Touched | None) -> None:
        projects = self._existing(reader, changed)
        shown = self._shown(reader, changed, projects)

        # Files first: no page lists a file that clients cannot download.
        with self._site.batch() as batch:
            for project in projects:
                self._files.offer(project, batch, touched)
            for (view, _), answer in shown.items():
                if answer is not None:
                    self._write(view, answer, batch)

        for (view, name), answer in shown.items():
            if answer is None:
                self._site.remove_tree(self.directories[view] / name)
        for project in projects:
            if not project.offered:
                self._files.withhold(project)

    def _write(self, view: str, project: Project, batch: Batch) -> None:
        content = page_contents(self._spec, view, project)
        write_pages(self.directories[view] / project.name, content, project.serial, batch)

    def _existing(self, reader: Reader, changed: Changed) -> list[Project]:
        """Return the changed projects that still exist, from their own indexes."""
        names: dict[str, list[str]] = {index: [] for index in self._spec.indexes}
        for index, name in changed:
            names.get(index, []).append(name)
        return [
            project
            for index, some in names.items()
            for project in reader.named(index, some).values()
        ]

    def _shown(
        self, reader: Reader, changed: Changed, projects: Sequence[Project]
    ) -> dict[tuple[str, str], Project | None]:
        """Return the project that each index now shows for the changed names, by index and name.
        An index without bases shows the ``projects`` of its own."""
        shown: dict[tuple[str, str], Project | None] = {}
        for view in self._spec.indexes:
            lineage = self._spec.lineage(view)
            names = list(dict.fromkeys(name for index, name in changed if index in lineage))
            if lineage == (view,):
                known = {each.name: each for each in projects if each.index == view}
            else:
                known = open_index(reader, self._spec, view).named(names) if names else {}
            shown |= {(view, name): known.get(name) for name in names}
        return shown

    # --- those that cannot be published --------------------------------------------------------

    def raise_failures(self) -> None:
        """Raise :class:`PyindexError` with the projects that could not be published since the last
        call, and the reasons."""
        failed, self._failed = self._failed, {}
        if failed:
            raise PyindexError(
                "projects that could not be published and keep their previous pages: "
                + "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            )

    def record_failures(self, changed: Changed, everything: bool) -> None:
        """Record the failures for :func:`unpublished`."""
        before = unpublished(self._spec)
        tried = {"/".join(each) for each in changed}
        kept = {} if everything else {k: v for k, v in before.items() if k not in tried}
        after = kept | self._failed
        if after != before:
            with self._site.batch() as batch:
                batch.write(_failures(self._spec), json.dumps(after).encode())


def unpublished(spec: Spec) -> dict[str, str]:
    """Return by ``INDEX/NAME`` why projects could not be rendered and keep previous pages."""
    try:
        failures: dict[str, str] = json.loads(_failures(spec).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return failures


def page_names(spec: Spec, view: str) -> tuple[str, ...]:
    """Return the names of the files of each project's page in the index ``view``."""
    has_both = spec.nginx.stand_in and view == spec.root
    return PAGES + STAND_IN_PAGES if has_both else PAGES


def page_contents(spec: Spec, view: str, project: Project) -> dict[str, bytes]:
    """Return the files of a project's page in the index ``view``, by the same names."""
    contents = pages.project_pages(project, packages_url(spec, view, project.index))
    if spec.nginx.stand_in_files and view == spec.root:
        contents |= pages.stand_in_pages(project, spec.nginx.stand_in_files)
    return contents


def write_pages(directory: Path, content: dict[str, bytes], serial: int, batch: Batch) -> None:
    """Write the forms of a page, by their file names, with the ``serial`` in their mtime."""
    for name, text in content.items():
        batch.write(directory / name, text, page_time(serial))


def _failures(spec: Spec) -> Path:
    return spec.www / ".unpublished"


def _is_of_all(error: Exception, reader: Reader) -> bool:
    """Return whether an error concerns all projects, such as a full disk or a damaged catalog."""
    if isinstance(error, sa.exc.DatabaseError):
        try:
            reader.serial()
        except sa.exc.DatabaseError:
            return True
    return isinstance(error, OSError) and error.errno not in _OF_A_PATH
