"""The interface of an index, of few methods, and wrappers with the same methods.

An index answers for one moment: :mod:`appliance.catalog.indexes`, which builds it, holds one
consistent view of the catalog open meanwhile. Bases and other policies are wrappers, composed
there, never flags.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from appliance.index.model import File, Project
from appliance.index.patterns import matches


class Listed(NamedTuple):
    """An entry of a project list: the normalized name, its spelling, and its last serial."""

    name: str
    display: str
    serial: int


class Counts(NamedTuple):
    """The number of projects and of files."""

    projects: int
    files: int


class Index(Protocol):
    """One index for its readers. ``names`` are normalized names of projects (PEP 503)."""

    name: str

    def project(self, name: str) -> Project | None:
        """The project with its files; ``None`` if the index has none of that name."""

    def named(self, names: Sequence[str]) -> dict[str, Project]:
        """The named projects, by name, without those that the index lacks."""

    def projects(self, first: str = "", end: str | None = None) -> Iterator[Listed]:
        """Each project of the index, by name, from the name ``first`` to before ``end``."""

    def serials(self, names: Sequence[str] | None = None) -> dict[str, int]:
        """The serial of the last change to each of the named projects, or to all, removed ones
        included."""

    def counts(self) -> Counts:
        """The number of projects and files of the index itself, without its bases."""

    def files(self, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` files of the index itself that clients may download, by path, from the
        first after the path ``after``."""


class Without:
    """An index that does not answer for the projects of some patterns."""

    def __init__(self, index: Index, patterns: tuple[str, ...]) -> None:
        self.name = index.name
        self._index, self._patterns = index, patterns

    def project(self, name: str) -> Project | None:
        return self.named([name]).get(name)

    def named(self, names: Sequence[str]) -> dict[str, Project]:
        return self._index.named([name for name in names if not matches(self._patterns, name)])

    def projects(self, first: str = "", end: str | None = None) -> Iterator[Listed]:
        rows = self._index.projects(first, end)
        return (row for row in rows if not matches(self._patterns, row.name))

    def serials(self, names: Sequence[str] | None = None) -> dict[str, int]:
        return self._index.serials(names)  # of all: the serial of a page never decreases

    def counts(self) -> Counts:
        return self._index.counts()

    def files(self, after: str = "", limit: int = 1000) -> list[File]:
        return self._index.files(after, limit)


class WithBases:
    """An index in front of its bases: the first that has a project answers for it alone.

    Projects are never merged: otherwise an unrelated project of the same name in a base could add
    files to a team's own project (dependency confusion). A project has the highest serial of its
    name in any of the indexes, so that the serials of its page never decrease.
    """

    def __init__(self, index: Index, bases: Sequence[Index]) -> None:
        self.name = index.name
        self._index, self._lineage = index, (index, *bases)

    def project(self, name: str) -> Project | None:
        return self.named([name]).get(name)

    def named(self, names: Sequence[str]) -> dict[str, Project]:
        answers: dict[str, Project] = {}
        for index in reversed(self._lineage):
            answers |= index.named(names)

        serials = self.serials(names)
        return {name: replace(project, serial=serials[name]) for name, project in answers.items()}

    def projects(self, first: str = "", end: str | None = None) -> Iterator[Listed]:
        displays: dict[str, str] = {}
        for index in reversed(self._lineage):
            displays |= {listed.name: listed.display for listed in index.projects(first, end)}

        serials = self.serials(None if end is None and not first else list(displays))
        return (Listed(name, displays[name], serials[name]) for name in sorted(displays))

    def serials(self, names: Sequence[str] | None = None) -> dict[str, int]:
        last: dict[str, int] = {}
        for index in self._lineage:
            for name, serial in index.serials(names).items():
                last[name] = max(serial, last.get(name, 0))
        return last

    def counts(self) -> Counts:
        return self._index.counts()

    def files(self, after: str = "", limit: int = 1000) -> list[File]:
        return self._index.files(after, limit)
