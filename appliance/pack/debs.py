""".deb files from Debian's repositories, by the control machine's apt with a state of its own."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import PyindexError
from appliance.spec import Repository

_URI = re.compile(r"^'[^']*' (\S+\.deb) \d+ ", re.M)


def download(
    repositories: Sequence[Repository], names: Sequence[str], downloads: Path, old: Path | None
) -> list[Path]:
    """Download the newest packages ``names`` with all that they require, and return the files.

    apt verifies the repository's signature, by its key or else by the keys of this machine, and the
    digest of each file. It takes no package for installed. Arguments are those of
    :func:`appliance.pack.rpms.download`. Raises PyindexError with apt's message.
    """
    if shutil.which("apt-get") is None:
        raise PyindexError(
            "apt-get: not found; build the pack on a Debian machine, or pass .deb files with"
            " --packages"
        )
    archives = downloads / "archives"
    for directory in (
        archives / "partial",
        downloads / "lists/partial",
        downloads / "none/partial",
    ):
        directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as keys:
        lines = [_source(each, Path(keys, str(n))) for n, each in enumerate(repositories)]
        (downloads / "sources.list").write_text("".join(lines))
        _run(downloads, archives, "update")
        return _download(names, downloads, archives, old)


def _download(
    names: Sequence[str], downloads: Path, archives: Path, old: Path | None
) -> list[Path]:
    install = ("install", "--yes", "--no-install-recommends")
    # Listed for an empty archive: apt leaves out what it has.
    files = _URI.findall(_run(downloads, downloads / "none", *install, "--print-uris", *names))
    for name in files:
        if old and (old / name).exists() and not (archives / name).exists():
            shutil.copyfile(old / name, archives / name)  # apt verifies it, too
    _run(downloads, archives, *install, "--download-only", *names)
    return [archives / name for name in sorted(files)]


def _source(repository: Repository, copy: Path) -> str:
    """The line of sources.list(5), with a copy of the key: its path has no space, which apt cannot
    read, but its suffix, by which apt knows the form."""
    signed = ""
    if repository.key:
        signed = f" signed-by={shutil.copyfile(repository.key, f'{copy}{repository.key.suffix}')}"
    return f"deb [arch=amd64{signed}] {repository.url}\n"


def _run(state: Path, archives: Path, *arguments: str) -> str:
    """Run apt-get with files below ``state`` only; return its output."""
    options = [f"-o{name}={value}" for name, value in _settings(state, archives).items()]
    process = subprocess.run(
        ["apt-get", "-qq", *options, *arguments],
        env=os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if process.returncode:
        errors = [line for line in process.stderr.splitlines() if line.startswith(("E:", "W:"))]
        reason = "; ".join(line[3:] for line in errors) or process.stderr.strip()
        raise PyindexError(f"apt-get {arguments[0]}: {reason}; correct host.repositories")
    return process.stdout


def _settings(state: Path, archives: Path) -> dict[str, object]:
    """Settings of apt.conf(5), so that it reads and writes nothing of this machine but keys."""
    return {
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": os.devnull,
        "Dir::Etc::Preferences": os.devnull,
        "Dir::Etc::PreferencesParts": os.devnull,
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": os.devnull,
        "Dir::State::Extended_States": state / "extended_states",
        "Dir::Cache": state,
        "Dir::Cache::Archives": archives,
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Debug::NoLocking": "true",
        "Acquire::Retries": "3",
    }
