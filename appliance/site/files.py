"""Markers of package files that clients may download, their links by digest, and published core
metadata (PEP 658).

Intake keeps the metadata of an accepted file below ``<state>/metadata``; the publisher moves it to
``www`` when the file is offered, and back when it is withheld. A kill between any two steps leaves
it in one of the two, or in neither if the file is removed. Missing metadata is read from the
package file again.
"""

import hashlib
import logging
import os
from pathlib import Path

from appliance.atomic import Batch, files_below, make_directory, remove_empty, unlink
from appliance.catalog.journal import Touched
from appliance.catalog.metadata import KeptMetadata
from appliance.catalog.reader import Reader
from appliance.errors import Rejected
from appliance.incoming import examine
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File, Project
from appliance.index.names import COMPANIONS, METADATA, split_companion
from appliance.site.digests import digest_links
from appliance.site.tree import Site
from appliance.spec import Spec

log = logging.getLogger(__name__)


class FilePublisher:
    """Publisher of the files of all indexes."""

    def __init__(self, spec: Spec, site: Site) -> None:
        self._site = site
        self._links = digest_links(site)
        self._kept = KeptMetadata(spec.state)
        self._directories = {
            name: PackagesDirectory(index.packages) for name, index in spec.indexes.items()
        }

    def offer(self, project: Project, batch: Batch, touched: Touched | None) -> None:
        """Publish the ``touched`` files of a project, or all of them without that."""
        index, files = project.index, project.offered
        if touched is None or (index, project.name) in touched.projects:
            for file in files:
                self._offer(index, file, batch)
            return

        for file in files:
            moved_from = touched.files.get((index, file.path))
            if moved_from is not None:
                if moved_from:
                    self._move_metadata(index, moved_from, file, batch)
                self._offer(index, file, batch)

    def withhold(self, project: Project) -> None:
        """Unpublish the files of a quarantined project (PEP 792)."""
        for file in project.files:
            self._unmark(project.index, file.path)
            self._keep_metadata(project.index, file)

    def withdraw(self, reader: Reader, since: int) -> None:
        """Unpublish the files removed after serial ``since``."""
        for index, path in reader.removed_since(since):
            if index not in self._directories or reader.file_at(index, path) is not None:
                continue

            self._unmark(index, path)
            metadata = self._site.metadata(index, path)
            self._site.remove(metadata)
            remove_empty(metadata.rpartition("/")[0], self._top(index))
            self._kept.remove(index, path)
            self._kept.prune(index, path)

    def sweep(self, reader: Reader, index: str, serial: int) -> None:
        """Remove markers and metadata of files that are not accepted. Files removed after
        ``serial`` keep theirs until :meth:`withdraw`: published pages may still list them."""
        known = {path: (companions, has) for path, companions, has in reader.accepted(index)}
        removed = {path for each, path in reader.removed_since(serial) if each == index}
        known.update(dict.fromkeys(removed, (COMPANIONS, True)))

        for path in files_below(self._site.marker(index, "")):
            package, ending = split_companion(path)
            companions, _ = known.get(package, ((), False))
            if path not in known and ending not in companions:
                self._site.remove(self._site.marker(index, path))
        if links := self._links.get(index):
            links.sweep()

        for path in files_below(f"{self._top(index)}/"):
            _, has_metadata = known.get(path.removesuffix(METADATA), ((), False))
            if not (has_metadata and path.endswith(METADATA)):
                self._site.remove(f"{self._top(index)}/{path}")

    def _top(self, index: str) -> str:
        """Return the directory of all published metadata of an index."""
        return self._site.metadata(index, "").rpartition("/")[0]

    # --- one file ------------------------------------------------------------------------------

    def _offer(self, index: str, file: File, batch: Batch) -> None:
        """Create the markers of a file and its companions, and publish its metadata."""
        is_new = batch.mark(self._site.marker(index, file.path))
        for ending in COMPANIONS:
            if ending in file.companions:
                batch.mark(self._site.marker(index, file.path + ending))
            elif not is_new:
                self._site.remove(self._site.marker(index, file.path + ending))
        if links := self._links.get(index):
            links.offer(file, batch)

        self._offer_metadata(index, file, batch)

    def _offer_metadata(self, index: str, file: File, batch: Batch) -> None:
        published, kept = self._site.metadata(index, file.path), self._kept.path(index, file.path)
        if file.core_metadata is None:
            unlink(published)
            return

        # Kept metadata is newer: www has that of a replaced file meanwhile.
        if _digest(kept) == file.core_metadata:
            batch.move(kept, published)
        elif _digest(published) != file.core_metadata:
            unlink(published)
            self._restore_metadata(index, published, file, batch)

    def _move_metadata(self, index: str, old: str, file: File, batch: Batch) -> None:
        """Move the metadata of a moved file to its new path, without reading the file again."""
        if file.core_metadata is None:
            self._kept.move(index, old, file.path)
            return
        for source in (self._site.metadata(index, old), self._kept.path(index, old)):
            if _digest(source) == file.core_metadata:
                target = self._site.metadata(index, file.path)
                batch.write_new(target, Path(source).read_bytes())
                return

    def _restore_metadata(self, index: str, target: str, file: File, batch: Batch) -> None:
        """Publish metadata read from the package file, since it is neither kept nor published."""
        package = self._directories[index].root / file.path
        try:
            raw = examine.read_metadata(self._directories[index], file.path)
        except (OSError, Rejected) as error:
            log.warning("%s: no metadata to publish: %s", package, error)
            return

        if raw is not None and hashlib.sha256(raw).hexdigest() == file.core_metadata:
            batch.write(target, raw)
        else:
            log.warning("%s: changed since it was accepted", package)

    def _unmark(self, index: str, path: str) -> None:
        """Remove the markers of the file at ``path`` and of its companions."""
        if links := self._links.get(index):
            links.withdraw(path)
        marker = self._site.marker(index, path)
        for ending in ("", *COMPANIONS):
            self._site.remove(marker + ending)
        remove_empty(marker.rpartition("/")[0], self._site.marker(index, "").rstrip("/"))

    def _keep_metadata(self, index: str, file: File) -> None:
        """Move the metadata of a file that is not offered any more from ``www`` to the kept."""
        published, kept = self._site.metadata(index, file.path), self._kept.path(index, file.path)
        if not os.path.lexists(published):
            return
        if _digest(kept) == file.core_metadata:  # that of a replaced file
            unlink(published)
            return
        make_directory(kept.rpartition("/")[0])
        Path(published).replace(kept)


def metadata_paths(site: Site, kept: KeptMetadata, index: str, path: str) -> tuple[str, ...]:
    """Return where the metadata of the file at ``path`` can be, in the order to look there. The
    first is the last, too: the publisher may move it while another process looks."""
    published = site.metadata(index, path)
    return published, kept.path(index, path), published


def _digest(path: str) -> str | None:
    """Return the SHA-256 of a file in hex, or ``None`` if there is none."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a text, as the site gives it
            return hashlib.sha256(file.read()).hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
