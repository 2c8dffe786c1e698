"""The files of an index of this appliance as the source of a resolution."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from appliance.catalog.database import Catalog
from appliance.catalog.indexes import ready_index
from appliance.catalog.metadata import KeptMetadata
from appliance.errors import PyindexError, Rejected
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.examine import read_build_files
from appliance.index import metadata
from appliance.index.index import Index
from appliance.index.model import File
from appliance.resolution import sdists
from appliance.resolution.source import Facts
from appliance.site.tree import Site
from appliance.spec import Spec
from appliance.upstream.digests import digest_of
from appliance.upstream.model import RemoteFile


class IndexSource:
    """An index with its bases, at one moment. Nothing but its files is read."""

    def __init__(self, spec: Spec, index: Index) -> None:
        self._spec, self._index, self._site = spec, index, Site(spec)
        self._kept = KeptMetadata(spec.state)
        self._projects: dict[str, Sequence[RemoteFile]] = {}
        self._files: dict[str, tuple[str, File]] = {}
        self._facts: dict[str, Facts] = {}
        self._digests: dict[tuple[str, str], str] = {}

    def files(self, project: str) -> Sequence[RemoteFile]:
        if project not in self._projects:
            self._projects[project] = self._read_files(project)
        return self._projects[project]

    def facts(self, file: RemoteFile) -> Facts:
        if file.filename not in self._facts:
            try:
                self._facts[file.filename] = self._read_facts(*self._files[file.filename])
            except Rejected as error:
                raise Rejected(f"{file.filename}: {error}") from None
        return self._facts[file.filename]

    def digest(self, file: RemoteFile, algorithm: str) -> str:
        which = file.filename, algorithm
        if which not in self._digests:
            index, known = self._files[file.filename]
            path = PackagesDirectory(self._spec.indexes[index].packages).locate(known.path)
            self._digests[which] = digest_of(path, algorithm)
        return self._digests[which]

    def file(self, file: RemoteFile) -> File:
        """Return the file of the catalog that :meth:`files` returned as ``file``."""
        return self._files[file.filename][1]

    def _read_files(self, project: str) -> Sequence[RemoteFile]:
        found = self._index.project(project)
        if found is None:
            return ()
        self._files |= {file.filename: (found.index, file) for file in found.offered}
        return [remote(file, found.index) for file in found.offered]

    def _read_facts(self, index: str, file: File) -> Facts:
        if file.kind != "bdist_wheel":
            return self._facts_of_sdist(index, file)
        return sdists.from_metadata(metadata.parse(self._metadata(index, file)))

    def _metadata(self, index: str, file: File) -> bytes:
        published = Path(self._site.metadata(index, file.path))
        for path in (published, Path(self._kept.path(index, file.path))):
            with contextlib.suppress(FileNotFoundError):
                return path.read_bytes()
        raise PyindexError(f"{index}: {file.path}: no metadata stored; run `pyindex rebuild`")

    def _facts_of_sdist(self, index: str, file: File) -> Facts:
        directory = PackagesDirectory(self._spec.indexes[index].packages)
        return sdists.facts(read_build_files(directory, file.path))


@contextlib.contextmanager
def open_source(spec: Spec, index: str) -> Iterator[IndexSource]:
    """Open the index for a resolution. Raises :class:`Unscanned` before its first scan."""
    with Catalog(spec.catalog).read() as reader:
        yield IndexSource(spec, ready_index(reader, spec, index))


def remote(file: File, index: str) -> RemoteFile:
    """Return a file of the catalog as one of a page."""
    return RemoteFile(
        filename=file.filename,
        url="",
        hashes={"sha256": file.sha256, "md5": file.md5},
        size=file.size,
        requires_python=file.requires_python,
        yanked=file.yanked,
        upload_time=file.upload_time,
        has_metadata=file.core_metadata is not None,
        index=index,
    )
