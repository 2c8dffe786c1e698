"""Whether an index has been scanned in full, so that what it lacks is known to be absent.

Until then it must not answer 404, and no base may answer in its place (dependency confusion).
"""

from appliance.index.reader import Reader
from appliance.spec import Spec


def scan_mark(spec: Spec, index: str) -> str:
    """The catalog's mark that is 1 once the packages directory of ``index`` was scanned in full.
    It names the directory: another one is unknown until it has been scanned itself."""
    return f"scanned:{index}:{spec.indexes[index].packages}"


def vanished_mark(index: str) -> str:
    """The catalog's mark that is the number of files which vanished all at once from ``index``:
    they stay listed until somebody confirms it."""
    return f"vanished:{index}"


def unscanned(reader: Reader, spec: Spec, view: str) -> list[str]:
    """The indexes in the lineage of ``view`` that were not scanned in full yet."""
    return [name for name in spec.lineage(view) if not reader.mark(scan_mark(spec, name))]


def all_unscanned(reader: Reader, spec: Spec) -> list[str]:
    """The indexes of the spec that were not scanned in full yet."""
    return [name for name in spec.indexes if not reader.mark(scan_mark(spec, name))]
