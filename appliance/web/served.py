"""One index of a spec, as the resources of the application receive it."""

from collections.abc import Collection
from dataclasses import dataclass

import falcon

from appliance import headers
from appliance.accounts.principal import Principal
from appliance.catalog.database import Catalog
from appliance.catalog.indexes import open_index, ready_index
from appliance.catalog.reader import Reader
from appliance.index import names
from appliance.index.index import Index
from appliance.index.patterns import matches
from appliance.policy.rights import Right
from appliance.spec import Spec
from appliance.web.completeness import Completeness
from appliance.web.login import Login, Readable


@dataclass(frozen=True)
class ServedIndex:
    """The index ``name`` of ``spec``, with the ``catalog`` and its completeness."""

    spec: Spec
    catalog: Catalog
    name: str
    completeness: Completeness
    login: Login

    @property
    def prefix(self) -> str:
        """The path before ``simple/`` in its URLs: "" or "<index>/"."""
        return self.spec.prefix(self.name)

    @property
    def lineage(self) -> tuple[str, ...]:
        """Its name, then those of its bases, in resolution order."""
        return self.spec.lineage(self.name)

    def may_show(self, index: str, project: str) -> bool:
        """Whether its pages may show a project of an ``index`` of its lineage: not one that is
        private to another."""
        return not matches(self.spec.foreign(self.name, index), project)

    def open(self, reader: Reader) -> Index:
        """The index in the reader's view of the catalog, as far as it has been scanned."""
        return open_index(reader, self.spec, self.name)

    def using(self, reader: Reader) -> Index:
        """As :meth:`open`. Raises :class:`Unscanned` until it has been scanned in full."""
        return ready_index(reader, self.spec, self.name)

    @property
    def is_open(self) -> bool:
        """Whether every client may read all of it; caches may keep what all may read."""
        return self.login.rights.is_open(self.name)

    @property
    def is_by_project(self) -> bool:
        """Whether some clients may read a part of it."""
        return self.login.rights.is_by_project(self.name)

    def keep_private(self, resp: falcon.Response) -> None:
        """Let no cache keep the answer for another client, unless every client may read it."""
        if not self.is_open:
            resp.set_headers(headers.PRIVATE)

    def readable(self, req: falcon.Request) -> Readable:
        """As :meth:`Login.readable`, for this index."""
        return self.login.readable(req, self.name)

    def check_file(self, req: falcon.Request, path: str) -> None:
        """Raise an error if the client may not read the file at ``path``, or its companion:
        :class:`falcon.HTTPNotFound` for one that it may not know of."""
        readable = self.readable(req)
        if self.is_by_project:
            projects = self._projects_of(path)
            if not projects or not all(map(readable, projects)):
                raise self.completeness.absent()

    def _projects_of(self, path: str) -> Collection[str]:
        """The project of a file, or those that a file of its name may belong to."""
        path = names.without_companion(path)
        with self.catalog.read() as reader:
            file = reader.file_at(self.name, path)
        return names.possible(path) if file is None else [file.project]

    def authorize(self, req: falcon.Request, right: Right, project: str | None = None) -> Principal:
        """As :meth:`Login.authorize`, for this index."""
        return self.login.authorize(req, self.name, right, project)


def served_index(spec: Spec, catalog: Catalog, login: Login, name: str) -> ServedIndex:
    """The index ``name`` of ``spec`` with its own :class:`Completeness`."""
    return ServedIndex(spec, catalog, name, Completeness(spec, catalog, name), login)
