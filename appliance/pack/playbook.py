"""The playbook that sets up a host, and the ansible that runs it there: for a host that has no
control machine."""

import shutil
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

from appliance.pack import digests, pip, wheelfile
from appliance.pack.python import Python
from appliance.pack.wheels import add_dependencies

# The collections that the roles use; ansible's wheel has a hundred others, 400 MB of files.
COLLECTIONS = ("ansible.posix", "community.general")

_PLAYBOOK = ("ansible.cfg", "site.yml", "roles")


def add_playbook(directory: Path) -> None:
    """Copy the playbook and its roles into ``directory``."""
    copy(_source(), directory, *_PLAYBOOK)


def copy(source: Path, directory: Path, *names: str) -> None:
    """Copy what is at ``names`` in ``source``, or all, to the same paths in ``directory``."""
    for path in (file for name in names or "." for file in digests.source_files(source / name)):
        target = directory / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def add_ansible(directory: Path, python: Python, reusable: Path | None) -> None:
    """Put wheels of ansible, with :data:`COLLECTIONS` only, and of all that it requires into
    ``directory``: those beside ``reusable/wheels`` if they suffice, or newly downloaded ones.
    Raises PyindexError with pip's message."""
    directory.mkdir()
    (requirement,) = (
        line
        for line in (_source() / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    version = requirement.removeprefix("ansible==")
    wheel = directory / f"ansible-{version}-1pyindex-py3-none-any.whl"  # with a build tag, PEP 427
    if reusable and (reusable / "wheels" / wheel.name).exists():
        shutil.copyfile(reusable / "wheels" / wheel.name, wheel)
    else:
        _download(wheel, requirement, version, python)
    add_dependencies(directory, wheel, python, reusable)


def _source() -> Path:
    return Path(str(resources.files("appliance.ansible")))


def _download(wheel: Path, requirement: str, version: str, python: Python) -> None:
    """Write the wheel of ansible without the collections that the roles do not use."""
    info = f"ansible-{version}.dist-info/"
    kept = (info, *(f"ansible_collections/{name.replace('.', '/')}/" for name in COLLECTIONS))
    with tempfile.TemporaryDirectory() as work:
        options = ("--no-deps", "--only-binary=:all:", f"--python-version={python.version}")
        pip.run("download", *options, "--dest", work, requirement)
        (whole,) = Path(work).iterdir()
        with zipfile.ZipFile(whole) as archive:
            names = sorted(name for name in archive.namelist() if name.startswith(kept))
            files = [name for name in names if name[-1] != "/" and name != f"{info}RECORD"]
            wheelfile.write(wheel, {name: archive.read(name) for name in files})
