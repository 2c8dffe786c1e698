"""Which package files may be fetched: their markers, and the metadata that their pages promise
(PEP 658)."""

import hashlib
import logging
import os
from pathlib import Path

from appliance.atomic import Batch, files_below, make_directory, remove_empty, unlink
from appliance.catalog.journal import Touched
from appliance.catalog.reader import Reader
from appliance.errors import Refused
from appliance.incoming import examine
from appliance.incoming.directory import Folder
from appliance.index.model import File, Project
from appliance.index.names import METADATA, SIGNATURE
from appliance.site.tree import Site
from appliance.spec import Spec

log = logging.getLogger(__name__)


class FilePublisher:
    """Offers the files of all indexes, and withdraws them."""

    def __init__(self, spec: Spec, site: Site) -> None:
        self._site = site
        self._folders = {name: Folder(index.packages) for name, index in spec.indexes.items()}

    def offer(self, project: Project, batch: Batch, touched: Touched | None) -> None:
        """Offer the files of a project that the journal says were ``touched``; without it all of
        them, and see that their metadata is what their page promises."""
        index, files = project.index, project.offered
        if touched is None or (index, project.name) in touched.projects:
            for file in files:
                self._offer(index, file, batch, compare=touched is None)
            return

        for file in files:
            moved_from = touched.files.get((index, file.path))
            if moved_from is not None:
                if moved_from:
                    self._move_metadata(index, moved_from, file, batch)
                self._offer(index, file, batch)

    def withhold(self, project: Project) -> None:
        """See that no file of a quarantined project can be fetched (PEP 792)."""
        for file in project.files:
            self._unmark(project.index, file.path)
            self._put_away(project.index, file.path)

    def withdraw(self, reader: Reader, since: int) -> None:
        """Unpublish the files that the journal says went after serial ``since``."""
        for index, path in reader.left(since):
            if index not in self._folders or reader.file_at(index, path) is not None:
                continue

            self._unmark(index, path)
            metadata = self._site.metadata(index, path)
            unlink(metadata)
            unlink(self._site.unpublished_metadata(index, path))
            remove_empty(metadata.rpartition("/")[0], self._top(index))

    def sweep(self, reader: Reader, index: str, serial: int) -> None:
        """Remove markers and metadata that the catalog does not account for. What went after
        ``serial`` stays: there may be pages that show it, until it is withdrawn in its turn."""
        known = {path: (signed, told) for path, signed, told in reader.accepted(index)}
        left = {path for each, path in reader.left(serial) if each == index}
        known.update(dict.fromkeys(left, (True, True)))

        for path in files_below(self._site.marker(index, "")):
            signed, _ = known.get(path.removesuffix(SIGNATURE), (False, False))
            if path not in known and not (signed and path.endswith(SIGNATURE)):
                unlink(self._site.marker(index, path))

        for path in files_below(f"{self._top(index)}/"):
            _, has_metadata = known.get(path.removesuffix(METADATA), (False, False))
            if not (has_metadata and path.endswith(METADATA)):
                unlink(f"{self._top(index)}/{path}")

    def _top(self, index: str) -> str:
        """The directory that all published metadata of an index lies in."""
        return self._site.metadata(index, "").rpartition("/")[0]

    # --- one file ------------------------------------------------------------------------------

    def _offer(self, index: str, file: File, batch: Batch, compare: bool = False) -> None:
        """Mark what may be fetched, and see that the metadata that the page promises is there;
        with ``compare`` that it has the promised digest."""
        is_new = batch.mark(self._site.marker(index, file.path))
        if file.signature:
            batch.mark(self._site.marker(index, file.path + SIGNATURE))
        elif not is_new:
            unlink(self._site.marker(index, file.path + SIGNATURE))

        metadata = self._site.metadata(index, file.path)
        if compare:
            is_right = _digest(metadata) == file.core_metadata
        else:
            is_right = os.path.lexists(metadata) == (file.core_metadata is not None)
        if not is_right:
            unlink(metadata)
            self._restore_metadata(index, metadata, file, batch)

    def _move_metadata(self, index: str, old: str, file: File, batch: Batch) -> None:
        """Publish the metadata of a file that has moved, without opening it again."""
        source = self._site.metadata(index, old)
        if file.core_metadata is not None and _digest(source) == file.core_metadata:
            batch.write_unseen(self._site.metadata(index, file.path), Path(source).read_bytes())

    def _restore_metadata(self, index: str, target: str, file: File, batch: Batch) -> None:
        if file.core_metadata is None:
            return

        aside = self._site.unpublished_metadata(index, file.path)
        if _digest(aside) == file.core_metadata:
            batch.write(target, Path(aside).read_bytes())
            unlink(aside)
            return

        package = self._folders[index].root / file.path
        try:
            raw = examine.read_metadata(self._folders[index], self._site, index, file.path)
        except (OSError, Refused) as error:
            log.warning("%s: no metadata to publish: %s", package, error)
            return
        if raw is not None and hashlib.sha256(raw).hexdigest() == file.core_metadata:
            batch.write(target, raw)
        else:
            log.warning("%s: changed since it was taken in", package)

    def _unmark(self, index: str, path: str) -> None:
        """See that neither the file at ``path`` nor its signature can be fetched."""
        marker = self._site.marker(index, path)
        unlink(marker)
        unlink(marker + SIGNATURE)
        remove_empty(marker.rpartition("/")[0], self._site.marker(index, "").rstrip("/"))

    def _put_away(self, index: str, path: str) -> None:
        """Keep the metadata of a file whose page promises none any more where no reader sees it."""
        metadata = self._site.metadata(index, path)
        if os.path.lexists(metadata):
            aside = self._site.unpublished_metadata(index, path)
            make_directory(aside.rpartition("/")[0])
            Path(metadata).replace(aside)


def _digest(path: str) -> str | None:
    """The SHA-256, in hex, of what is at a path; ``None`` if there is no file."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
