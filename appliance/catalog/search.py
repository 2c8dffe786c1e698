"""Search for projects by words."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from appliance.catalog import schema
from appliance.catalog.queries import Queries, has_page
from appliance.index.names import normalize

_STEPS = 10_000  # of SQLite's virtual machine, between two checks of the clock


class SearchQueries(Queries):
    """Search in names of projects and summaries of their files."""

    def search(
        self, indexes: Sequence[str], words: Sequence[str], limit: int, seconds: float
    ) -> list[str]:
        """Return names of projects: first those whose name has all ``words``, best match first,
        then those with all words in name and summary together, as far as ``seconds`` allow."""
        project = schema.project.c
        visible = project.index.in_(indexes), project.status != "quarantined", has_page()
        in_name = [project.name.contains(normalize(word), autoescape=True) for word in words]
        by_name = sa.select(project.name).where(*visible, *in_name).group_by(project.name)
        by_name = by_name.order_by(_rank(words), sa.func.length(project.name), project.name)
        names = list(self._connection.scalars(by_name.limit(limit)))

        text = project.name + " " + sa.func.coalesce(schema.file.c.summary, "")
        anywhere = [
            text.icontains(word, autoescape=True) | is_in_name
            for word, is_in_name in zip(words, in_name, strict=True)
        ]
        its_files = (schema.file.c.index == project.index) & (schema.file.c.project == project.name)
        by_text = sa.select(project.name).join(schema.file, its_files).where(*visible, *anywhere)
        further = self._until(by_text.distinct(), set(names), limit, seconds)
        return names + sorted(further, key=lambda name: (len(name), name))

    def _until(
        self, query: sa.Select[Any], known: set[str], limit: int, seconds: float
    ) -> set[str]:
        """Return names from ``query`` that are not ``known``, up to ``limit`` of both together,
        until the time is over."""
        further: set[str] = set()
        with self._at_most(seconds):
            for name in self._connection.scalars(query):
                if len(known) + len(further) >= limit:
                    break
                if name not in known:
                    further.add(name)
        return further

    @contextmanager
    def _at_most(self, seconds: float) -> Iterator[None]:
        """Interrupt the statements within after so long; rows read until then count."""
        connection: Any = self._connection.connection.dbapi_connection
        end = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            yield
        except sa.exc.OperationalError as error:
            if "interrupted" not in str(error.orig):
                raise
        finally:
            connection.set_progress_handler(None, 0)


def _rank(words: Sequence[str]) -> sa.ColumnElement[int]:
    """Return the rank of a project's name for the words: lower is better."""
    name, phrase = schema.project.c.name, normalize("-".join(words))
    return sa.case(
        (name == phrase, 0),
        (name.startswith(phrase, autoescape=True), 1),
        (name.contains(phrase, autoescape=True), 2),
        else_=3,
    )
