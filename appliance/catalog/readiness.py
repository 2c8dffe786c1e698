"""Readiness of an index: whether it was scanned in full, so that a project can be known absent.

Until then the index must not answer 404, and no base may answer for it (dependency confusion).
"""

from appliance.catalog.reader import Reader
from appliance.spec import Spec

FULLY = 1
"""Value of the scan mark of an index that was scanned in full once."""
PARTLY = 2
"""Value for an index with unreadable directories or missing mounts at its scan: it answers for its
projects, but others may exist."""


def scan_mark(spec: Spec, index: str) -> str:
    """Return the name of the catalog's mark that is :data:`FULLY` or :data:`PARTLY` after a scan of
    ``index``. It includes the packages directory: another directory needs its own scan."""
    return f"scanned:{index}:{spec.indexes[index].packages}"


def vanished_mark(index: str) -> str:
    """Return the name of the catalog's mark that counts the pending deletions of ``index``."""
    return f"vanished:{index}"


def unscanned(reader: Reader, spec: Spec, view: str) -> list[str]:
    """Return the unscanned indexes in the lineage of ``view``; a partly scanned index counts as one
    unless it is the last, since no base may answer for it."""
    lineage = spec.lineage(view)
    marks = {name: reader.mark(scan_mark(spec, name)) for name in lineage}
    return [
        name for name, mark in marks.items() if not mark or (mark == PARTLY and name != lineage[-1])
    ]


def all_unscanned(reader: Reader, spec: Spec) -> list[str]:
    """Return the unscanned indexes of the spec."""
    return [name for name in spec.indexes if unscanned(reader, spec, name)]
