"""The wheel of the pyindex that runs: its sources, its digest, and the wheel built from them."""

import json
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from appliance.pack import digests, pip, wheelfile

_SOURCES = (
    *("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "appliance", "deploy"),
    # Not its inventories, which describe an operator's hosts.
    *("ansible/__init__.py", "ansible/ansible.cfg", "ansible/requirements.txt"),
    *("ansible/site.yml", "ansible/roles"),
)
# Written by installers; not part of the wheel.
_INSTALLER_FILES = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")


def version() -> str:
    return _installed().version


def digest() -> str:
    """The digest of all sources of the wheel."""
    return digests.of_many({name: digests.of_file(path) for name, path in _sources().items()})


def build(directory: Path) -> Path:
    """Write the wheel into ``directory``, which is new, and return its path.

    No index is asked for it: a project of that name there may be an unrelated one. Raises
    PyindexError with pip's message if it cannot be built.
    """
    directory.mkdir(parents=True)
    if _checkout() is None:
        path = directory / f"pyindex-{version()}-py3-none-any.whl"
        wheelfile.write(path, {name: file.read_bytes() for name, file in _sources().items()})
        return path

    # A build leaves files beside its sources: it gets a copy of them.
    with tempfile.TemporaryDirectory() as copy:
        for name, file in _sources().items():
            target = Path(copy) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o644)
        pip.run("wheel", "--no-deps", "--wheel-dir", str(directory), copy)
    return next(directory.glob("pyindex-*.whl"))


def _installed() -> metadata.Distribution:
    """The installed pyindex. A checkout in the working directory has an incomplete one, too."""
    candidates = list(metadata.distributions(name="pyindex"))
    complete = (found for found in candidates if found.read_text("RECORD") is not None)
    return next(complete, candidates[0])


def _checkout() -> Path | None:
    """The directory of an editable install (PEP 610)."""
    direct_url = json.loads(_installed().read_text("direct_url.json") or "{}")
    if not direct_url.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(direct_url["url"]).path))


def _sources() -> dict[str, Path]:
    """The files that the wheel is built from, by their names in it or in the checkout."""
    if (checkout := _checkout()) is not None:
        paths = (path for name in _SOURCES for path in digests.source_files(checkout / name))
        return {str(path.relative_to(checkout)): path for path in sorted(paths)}
    return {
        str(file): Path(str(file.locate()))
        for file in sorted(_installed().files or [])
        if file.parts[0] != ".."
        and "__pycache__" not in file.parts
        and file.name not in _INSTALLER_FILES
    }
