"""Sources: where a resolution reads project pages and metadata from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from packaging.requirements import Requirement

from appliance.upstream.model import RemoteFile


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts in a file about its installation.

    Attributes:
        requires: Its dependencies with their markers (Requires-Dist); ``None`` if they cannot be
            known without running code of the file.
        extras: Its normalized extras (Provides-Extra).
        requires_python: Its Requires-Python.
        build_requires: What must be installed to build it, if it is an sdist (PEP 518).
        states_build: Whether it has a pyproject.toml; otherwise it is built by setuptools.
        names_build: Whether it has a table ``build-system`` too.
        note: Why ``requires`` is uncertain or not known; "" if it is certain.
        build_note: The same of ``build_requires``.
    """

    requires: tuple[Requirement, ...] | None = ()
    extras: frozenset[str] = frozenset()
    requires_python: str | None = None
    build_requires: tuple[Requirement, ...] = ()
    states_build: bool = True
    names_build: bool = True
    note: str = ""
    build_note: str = ""


class Source(Protocol):
    """An index, or several, for a resolution. Methods are called from one thread."""

    def files(self, project: str) -> Sequence[RemoteFile]:
        """Return the files of a project by its normalized name; none if there is no project."""

    def facts(self, file: RemoteFile) -> Facts:
        """Return what a file says. Raises :class:`Rejected` for a damaged or hostile one, and
        :class:`PyindexError` if it cannot be reached."""

    def digest(self, file: RemoteFile, algorithm: str) -> str:
        """Return the hex digest of a file's content. Raises :class:`PyindexError` if it cannot be
        read."""
