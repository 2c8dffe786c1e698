"""Whether what an index does not show is known not to be there: 404, or 503 until it is."""

import falcon

from appliance.catalog.database import Catalog, CatalogError
from appliance.errors import Unscanned
from appliance.site.layout import is_laid_out
from appliance.site.tree import Site
from appliance.site.views import View
from appliance.spec import Spec
from appliance.web import static


class Complete:
    """Tells for one index. Only what is absent needs to be asked about, and costs a look at the
    catalog once for each catalog."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self._spec, self._catalog = spec, catalog
        self._view = View(spec, Site(spec), index)
        self._known: tuple[int, int] | None = None
        self._is_of_lineage = False

    def page(self, www: str, path: str) -> static.File:
        """The page at ``path``, if the pages that are there were made for the indexes of this spec:
        those of a base must not pass for those of an index that was put above it."""
        if not self._is_of_lineage:
            if not self._view.number:
                raise self._unscanned()
            self._is_of_lineage = True
        return self.open(www, path)

    def open(self, root: str, path: str, beneath: bool = False) -> static.File:
        """The file at ``path`` (see :class:`static.File`), or :meth:`absent`."""
        try:
            return static.File(root, path, beneath)
        except falcon.HTTPNotFound as error:
            raise self.absent() from error

    def absent(self) -> falcon.HTTPNotFound:
        """What to raise for what is not there; raises :class:`Unscanned` while that is unknown."""
        self.check()
        return static.not_found()

    def check(self) -> None:
        """Raise :class:`Unscanned` until all of the index and its bases has been published."""
        if not (is_laid_out(self._spec) and self._is_live()):
            raise self._unscanned() from None

    def _unscanned(self) -> Unscanned:
        return Unscanned(f"index {self._view.name} is being scanned for the first time; retry")

    def _is_live(self) -> bool:
        """Whether the pages are those of this catalog. One that is there but cannot be read tells
        nothing against them."""
        try:
            catalog = self._catalog.path.stat().st_ino
        except FileNotFoundError:
            return False
        known = self._view.number, catalog
        if known == self._known and not self._view.is_staged():
            return True
        try:
            with self._catalog.read() as reader:
                is_live = self._view.is_live(reader.mark(self._view.mark))
        except CatalogError:
            return self._view.number > 0
        self._known = known if is_live else None
        return is_live
