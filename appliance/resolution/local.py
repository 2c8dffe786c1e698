"""The files of an index of this appliance as the source of a resolution."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from appliance.catalog.database import Catalog
from appliance.catalog.indexes import ready_index
from appliance.catalog.metadata import KeptMetadata
from appliance.errors import PyindexError, Rejected
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.examine import read_build_files
from appliance.index import metadata
from appliance.index.index import Index
from appliance.index.model import File, Project
from appliance.resolution import sdists
from appliance.resolution.source import Facts
from appliance.site.files import metadata_paths
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
            self._keep(project, self._index.project(project))
        return self._projects[project]

    def read(self, projects: Iterable[str]) -> None:
        """Read projects that will be asked for, all at once: that takes a tenth of the time."""
        names = sorted({name for name in projects if name not in self._projects})
        found = self._index.named(names)
        for name in names:
            self._keep(name, found.get(name))

    def versions(self, projects: Iterable[str]) -> dict[str, str]:
        """Return for each project a text that changes with its files, and so with their facts."""
        names = sorted(projects)
        self.read(names)
        return {name: _digest(self._projects[name]) for name in names}

    def facts(self, file: RemoteFile) -> Facts:
        if file.filename not in self._facts:
            try:
                self._facts[file.filename] = self._read_facts(*self._files[file.filename])
            except Rejected as error:
                raise Rejected(f"{file.filename}: {error}") from None
        return self._facts[file.filename]

    @property
    def asked(self) -> frozenset[str]:
        """The projects that :meth:`files` was asked for."""
        return frozenset(self._projects)

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

    def _keep(self, name: str, project: Project | None) -> None:
        """Keep the files of a project, if the index has it."""
        files = project.offered if project else ()
        index = project.index if project else ""
        self._files |= {file.filename: (index, file) for file in files}
        self._projects[name] = [remote(file, index) for file in files]

    def _read_facts(self, index: str, file: File) -> Facts:
        if file.kind != "bdist_wheel":
            return self._facts_of_sdist(index, file)
        return sdists.from_metadata(metadata.parse(self._metadata(index, file)))

    def _metadata(self, index: str, file: File) -> bytes:
        for path in metadata_paths(self._site, self._kept, index, file.path):
            with contextlib.suppress(FileNotFoundError):
                return Path(path).read_bytes()
        raise PyindexError(f"{index}: {file.path}: no metadata stored; run `pyindex rebuild`")

    def _facts_of_sdist(self, index: str, file: File) -> Facts:
        directory = PackagesDirectory(self._spec.indexes[index].packages)
        return sdists.facts(read_build_files(directory, file.path))


@contextlib.contextmanager
def open_source(spec: Spec, index: str) -> Iterator[IndexSource]:
    """Open the index for a resolution. Raises :class:`Unscanned` before its first scan."""
    with Catalog(spec.catalog).read() as reader:
        yield IndexSource(spec, ready_index(reader, spec, index))


def _digest(files: Sequence[RemoteFile]) -> str:
    return hashlib.sha256(repr(files).encode()).hexdigest()


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
