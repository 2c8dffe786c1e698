"""Whether an index has been scanned in full, so that what it lacks is known to be absent.

Until then it must not answer 404, and no base may answer in its place (dependency confusion).
"""

from appliance.catalog.reader import Reader
from appliance.spec import Spec

FULLY = 1
"""The mark of an index that was scanned in full once."""
PARTLY = 2
"""The mark of one that was scanned but for directories that could not be read, or disks that are
away: it answers for what it has, but what it lacks may be there all the same."""


def scan_mark(spec: Spec, index: str) -> str:
    """The catalog's mark that is :data:`FULLY` or :data:`PARTLY` once the packages directory of
    ``index`` was scanned. It names the directory: another one is unknown until it has been scanned
    itself."""
    return f"scanned:{index}:{spec.indexes[index].packages}"


def vanished_mark(index: str) -> str:
    """The catalog's mark that is the number of files which vanished all at once from ``index``:
    they stay listed until somebody confirms it."""
    return f"vanished:{index}"


def unscanned(reader: Reader, spec: Spec, view: str) -> list[str]:
    """The indexes in the lineage of ``view`` that were not scanned yet; behind an index of which a
    part could not be read, no other may answer."""
    lineage = spec.lineage(view)
    marks = {name: reader.mark(scan_mark(spec, name)) for name in lineage}
    return [
        name for name, mark in marks.items() if not mark or (mark == PARTLY and name != lineage[-1])
    ]


def all_unscanned(reader: Reader, spec: Spec) -> list[str]:
    """The indexes of the spec that were not scanned yet."""
    return [name for name in spec.indexes if unscanned(reader, spec, name)]
