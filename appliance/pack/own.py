"""The pyindex that runs: what it is made of, and its wheel."""

import json
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from appliance.pack import digests, wheels

_SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "appliance", "deploy")


def version() -> str:
    return _installed().version


def digest() -> str:
    """The digest of all that the wheel is made of."""
    return digests.of_many({name: digests.of_file(path) for name, path in _sources().items()})


def wheel(folder: Path) -> Path:
    """Write the wheel into ``folder``, which is new. No index is asked for it: what bears its name
    there may be somebody else's. Raises PyindexError with what pip says if it cannot be built."""
    folder.mkdir(parents=True)
    if _checkout() is None:
        path = folder / f"pyindex-{version()}-py3-none-any.whl"
        wheels.write(path, {name: file.read_bytes() for name, file in _sources().items()})
        return path
    with tempfile.TemporaryDirectory() as copy:  # what builds leave behind stays out of it
        for name, file in _sources().items():
            place = Path(copy) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            place.chmod(0o644)
        wheels.pip("wheel", "--no-deps", "--wheel-dir", str(folder), copy)
    return next(folder.glob("pyindex-*.whl"))


def _installed() -> metadata.Distribution:
    """The pyindex that runs. A checkout that is the working directory has a half of one, too."""
    found = list(metadata.distributions(name="pyindex"))
    return next((one for one in found if one.read_text("RECORD") is not None), found[0])


def _checkout() -> Path | None:
    """The directory of an editable install (PEP 610)."""
    said = json.loads(_installed().read_text("direct_url.json") or "{}")
    if not said.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(said["url"]).path))


def _sources() -> dict[str, Path]:
    """The files that the wheel is made of, by their names in it or in the checkout."""
    if (checkout := _checkout()) is not None:
        paths = (path for name in _SOURCES for path in digests.files(checkout / name))
        return {str(path.relative_to(checkout)): path for path in sorted(paths)}
    made = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")
    return {
        str(file): Path(str(file.locate()))
        for file in sorted(_installed().files or [])
        if file.parts[0] != ".." and "__pycache__" not in file.parts and file.name not in made
    }
