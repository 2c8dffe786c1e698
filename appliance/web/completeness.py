"""The status for pages and files that are absent: 404, or 503 until the index is known in full."""

import falcon

from appliance.catalog.database import Catalog, CatalogError
from appliance.errors import Unscanned
from appliance.site.layout import is_laid_out
from appliance.site.tree import Site
from appliance.site.views import View
from appliance.spec import Spec
from appliance.web import static


class Completeness:
    """Whether one index and its bases have been scanned and published in full.

    Only absent pages and files need the answer, and it costs one read of each catalog.
    """

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self._spec, self._catalog = spec, catalog
        self._view = View(spec, Site(spec), index)
        self._live_version: tuple[int, int] | None = None
        self._is_of_spec = False

    def page(self, www: str, path: str) -> static.OpenFile:
        """The page at ``path`` below ``www``. Raises :class:`Unscanned` if the pages are not those
        of this spec's indexes: pages of a base must not pass for those of an index above it."""
        if not self._is_of_spec:
            if not self._view.number:
                raise self._unscanned()
            self._is_of_spec = True
        return self.open(www, path)

    def open(self, root: str, path: str, beneath: bool = False) -> static.OpenFile:
        """The file at ``path``, as :class:`static.OpenFile` opens it. Raises :meth:`absent`."""
        try:
            return static.OpenFile(root, path, beneath)
        except falcon.HTTPNotFound as error:
            raise self.absent() from error

    def absent(self) -> falcon.HTTPNotFound:
        """The error for an absent page or file. Raises :class:`Unscanned` while the index may have
        it."""
        self.check()
        return static.not_found()

    def check(self) -> None:
        """Raise :class:`Unscanned` until all of the index and its bases has been published."""
        if not (is_laid_out(self._spec) and self._is_live()):
            raise self._unscanned() from None

    def _unscanned(self) -> Unscanned:
        return Unscanned(f"index {self._view.name} is being scanned for the first time; retry")

    def _is_live(self) -> bool:
        """Whether the pages are those of this catalog; also if they are published and the catalog
        cannot be read."""
        try:
            inode = self._catalog.path.stat().st_ino
        except FileNotFoundError:
            return False

        version = self._view.number, inode
        if version == self._live_version and not self._view.is_staged():
            return True

        try:
            with self._catalog.read() as reader:
                is_live = self._view.is_live(reader.mark(self._view.mark))
        except CatalogError:
            return self._view.number > 0
        self._live_version = version if is_live else None
        return is_live
