"""Repair of the published tree: pages and markers that are missing are written again."""

import logging
import time
from collections.abc import Iterator, Sequence

from appliance.catalog.database import Catalog
from appliance.operations.update import Update
from appliance.site.compare import Comparison, Difference
from appliance.spec import Spec

log = logging.getLogger(__name__)

# It uses a hundredth of a core, as slow scans do.
_REST = 99


class Repair:
    """Compares the published tree with the catalog, one batch at a time, repeatedly."""

    def __init__(self, spec: Spec, catalog: Catalog, update: Update) -> None:
        self._spec, self._catalog, self._update = spec, catalog, update
        self._batches = self._compare()
        self._due = 0.0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def step(self) -> None:
        """Compare the next batch, and write missing pages and markers again."""
        now, began = time.monotonic(), time.thread_time()
        try:
            differences = next(self._batches, None)
            if differences is None:
                self._batches = self._compare()
                now += self._spec.server.reconcile.total_seconds()
            else:
                self._write(differences)
        finally:
            self._due = now + _REST * (time.thread_time() - began)

    def _write(self, differences: Sequence[Difference]) -> None:
        for difference in differences:
            log.warning(
                "%s: %s: %s; rewritten", difference.index, difference.path, difference.problem
            )
        if differences:
            self._update.rewrite({(each.index, each.project) for each in differences})

    def _compare(self) -> Iterator[Sequence[Difference]]:
        for index in self._spec.indexes:
            yield from Comparison(self._spec, self._catalog, index).missing()
