"""nginx of this machine, and nginx 1.18, the oldest version that a site is rendered for.

Version 1.18 is that of Debian 11, unpacked into the cache from this machine's package mirror.
"""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.integration.clients import CACHE, locked

_PACKAGES = ("nginx-core", "libssl1.1", "libpcre3")
_SOURCE = """\
Types: deb
URIs: {uri}
Suites: bullseye
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def judge(version: str, command: list[str]) -> tuple[int, str]:
    """Return exit code and output of ``nginx -t``; skip without that version."""
    program, variables = _old() if version == "1.18" else (command[0], {})
    done = subprocess.run(
        [program, *command[1:], "-t", "-q"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # 1.18 opens its built-in log path before it reads the configured one.
    lines = [line for line in done.stderr.splitlines() if "[alert] could not open" not in line]
    return done.returncode, "\n".join(lines)


@cache
def _old() -> tuple[str, dict[str, str]]:
    cache_directory = CACHE / "nginx-1.18"
    program = cache_directory / "root/usr/sbin/nginx"
    with locked(cache_directory.with_name(f"{cache_directory.name}.lock")):
        if not (cache_directory / "built").exists():
            _fetch(cache_directory)
            (cache_directory / "built").touch()
    libraries = [
        cache_directory / "root" / name / "x86_64-linux-gnu" for name in ("lib", "usr/lib")
    ]
    return str(program), {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}


def _fetch(cache_directory: Path) -> None:
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    match = re.search(r"^URIs: (\S+)", sources.read_text() if sources.exists() else "", re.M)
    if match is None:
        pytest.skip("no mirror of Debian packages for nginx 1.18")
    for name in ("lists/partial", "archives/partial"):
        (cache_directory / name).mkdir(parents=True, exist_ok=True)
    (cache_directory / "bullseye.sources").write_text(_SOURCE.format(uri=match[1]))
    (cache_directory / "status").touch()
    options = {
        "Dir::Etc::sourcelist": cache_directory / "bullseye.sources",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": cache_directory / "lists",
        "Dir::State::status": cache_directory / "status",
        "Dir::Cache": cache_directory,
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    for command in ([*apt, "update"], [*apt, "download", *_PACKAGES]):
        done = subprocess.run(
            command, cwd=cache_directory, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            pytest.skip(f"nginx 1.18 not available from Debian 11: {done.stderr}")
    for package in cache_directory.glob("*.deb"):
        subprocess.run(
            ["dpkg-deb", "-x", package, cache_directory / "root"], check=True, timeout=60
        )
