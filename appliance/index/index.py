"""What an index offers, as an interface of few methods; and wrappers with the same methods.

An index is asked for one moment: whoever makes one (:mod:`appliance.catalog.indexes`) holds one
consistent view of the catalog open meanwhile. What stands in front of an index or behind it is a
wrapper, composed where the spec is read, never a flag.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from appliance.index.model import File, Project


class Listed(NamedTuple):
    """A line of a project list: the normalised name, how it is written, and its last serial."""

    name: str
    display: str
    serial: int


class Counts(NamedTuple):
    """How many projects and files there are."""

    projects: int
    files: int


class Index(Protocol):
    """What readers of one index see. ``names`` are normalised names of projects (PEP 503)."""

    name: str

    def project(self, name: str) -> Project | None:
        """The project with its files; ``None`` if the index has none of that name."""

    def named(self, names: Sequence[str]) -> dict[str, Project]:
        """Those of the named projects that the index has, by name."""

    def projects(self) -> Iterator[Listed]:
        """Each project of the index, by name."""

    def serials(self, names: Sequence[str] | None = None) -> dict[str, int]:
        """The serial of the last change to each of the named projects, or to all, also of those
        that are gone."""

    def counts(self) -> Counts:
        """How many projects and files are the index's own."""

    def files(self, after: str = "", limit: int = 1000) -> list[File]:
        """At most ``limit`` of the index's own files that may be fetched, by path, beginning after
        the path ``after``."""


class WithBases:
    """An index in front of its bases: the first that has a project answers for it alone.

    Never a merger of two: that one index answers for a name is what keeps a stranger's upload to a
    base from mixing with a team's own project (dependency confusion). A project has the last serial
    that its name has had in any of them, so that what readers see never runs backwards.
    """

    def __init__(self, own: Index, bases: Sequence[Index]) -> None:
        self.name = own.name
        self._own, self._all = own, (own, *bases)

    def project(self, name: str) -> Project | None:
        return self.named([name]).get(name)

    def named(self, names: Sequence[str]) -> dict[str, Project]:
        answers: dict[str, Project] = {}
        for index in reversed(self._all):
            answers |= index.named(names)

        serials = self.serials(names)
        return {name: replace(each, serial=serials[name]) for name, each in answers.items()}

    def projects(self) -> Iterator[Listed]:
        displays: dict[str, str] = {}
        for index in reversed(self._all):
            displays |= {each.name: each.display for each in index.projects()}

        serials = self.serials()
        return (Listed(name, displays[name], serials[name]) for name in sorted(displays))

    def serials(self, names: Sequence[str] | None = None) -> dict[str, int]:
        last: dict[str, int] = {}
        for index in self._all:
            for name, serial in index.serials(names).items():
                last[name] = max(serial, last.get(name, 0))
        return last

    def counts(self) -> Counts:
        return self._own.counts()

    def files(self, after: str = "", limit: int = 1000) -> list[File]:
        return self._own.files(after, limit)
