"""Print the version of the Python that runs this, and which modules it lacks: "3.11 without _bz2".

They are modules of the standard library that require a C library, without which a Python is often
built, and that pyindex, its dependencies or pip import. `pyindex appliance pack` runs this with the
Python that it packs, the playbook with that of a host, which may be as old as 2.7.
"""

import importlib
import sys

MODULES = [
    "_bz2",
    "_ctypes",
    "_hashlib",
    "_lzma",
    "_multiprocessing",
    "_socket",
    "_sqlite3",
    "_ssl",
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
]


def is_missing(name):
    try:
        importlib.import_module(name)
    except ImportError:
        return True
    return False


missing = ", ".join(filter(is_missing, MODULES))
print("%d.%d" % sys.version_info[:2] + (" without " + missing if missing else ""))
