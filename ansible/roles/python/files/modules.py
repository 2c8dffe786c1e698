"""Print the version (X.Y) of the Python that runs this; exit with the modules that it lacks.

The modules are those of the standard library that need a C library, and that pyindex, its
dependencies or pip import: a Python is often built without them. `pyindex appliance pack` runs this
with a Python that it packs, the playbook with that of a host.
"""

import importlib
import sys

MODULES = (
    *("_bz2", "_ctypes", "_hashlib", "_lzma", "_multiprocessing", "_socket", "_sqlite3", "_ssl"),
    *(
        "fcntl",
        "grp",
        "mmap",
        "pwd",
        "pyexpat",
        "resource",
        "select",
        "unicodedata",
        "venv",
        "zlib",
    ),
)


def is_missing(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return True
    return False


print("%d.%d" % sys.version_info[:2])
missing = [name for name in MODULES if is_missing(name)]
if missing:
    sys.exit(", ".join(missing))
