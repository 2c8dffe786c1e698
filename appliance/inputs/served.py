"""Where an index of a spec serves files: their URLs by file name, from its catalog."""

from collections.abc import Iterable
from urllib.parse import quote

from appliance.catalog.database import Catalog
from appliance.catalog.indexes import ready_index
from appliance.index import names
from appliance.spec import Spec


def file_urls(spec: Spec, index: str, base: str, filenames: Iterable[str]) -> dict[str, str]:
    """The URLs of those files that ``index`` or its bases offer; ``base`` is the URL of the
    appliance, without a slash at its end.

    Raises :class:`CatalogError`, and :class:`Unscanned` before the first scan.
    """
    asked = set(filenames)
    projects = sorted({project for each in asked for project in names.possible(each)})
    with Catalog(spec.catalog).read() as reader:
        answers = ready_index(reader, spec, index).named(projects)
    return {
        file.filename: f"{base}/{spec.prefix(project.index)}packages/{quote(file.path, '/!~')}"
        for project in answers.values()
        for file in project.offered
        if file.filename in asked
    }
