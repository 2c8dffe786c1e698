"""Resolution by uv, in a process of its own, for the targets that uv can stand in for.

uv builds nothing here. Where it would have to, or where there is no solution, it has no answer, and
the resolution of :mod:`appliance.resolution` gives one, or says why there is none.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from uv import find_uv_bin

from appliance.inputs.demand import Pin, Wanted
from appliance.inputs.reading import read
from appliance.mirror.running import end, environment
from appliance.resolution.model import Question
from appliance.targets.target import Target

_SECONDS = 600
_INTERPRETER = re.compile(r"cp3(\d+)(?:\.\d+)?\Z")
_OLDEST = 8  # of CPython 3; uv warns below
_LINUX = re.compile(r"(manylinux\w*?|musllinux_1_\d+)_(x86_64|aarch64)\Z")
_MANYLINUX = re.compile(r"manylinux(?:2014|_2_(?:17|28|3[1-9]|40))\Z")
_MACOS = re.compile(r"macosx_(\d+)_(\d+)_(x86_64|arm64)\Z")
_WINDOWS = {
    "win_amd64": "x86_64-pc-windows-msvc",
    "win32": "i686-pc-windows-msvc",
    "win_arm64": "aarch64-pc-windows-msvc",
}


def platform(target: Target) -> tuple[str, dict[str, str]] | None:
    """Return uv's name of the target's platform, and environment variables that complete it;
    ``None`` if uv cannot stand in for the target."""
    interpreter = _INTERPRETER.match(target.interpreter)
    if interpreter is None or int(interpreter[1]) < _OLDEST:
        return None
    if name := _WINDOWS.get(target.platform):
        return name, {}
    if macos := _MACOS.match(target.platform):
        machine = "aarch64" if macos[3] == "arm64" else "x86_64"
        return f"{machine}-apple-darwin", {"MACOSX_DEPLOYMENT_TARGET": f"{macos[1]}.{macos[2]}"}

    linux = _LINUX.match(target.platform)
    if linux is None:
        return None
    if linux[1].startswith("musllinux"):
        return (f"{linux[2]}-unknown-linux-musl", {}) if linux[1] == "musllinux_1_2" else None
    return (f"{linux[2]}-{linux[1]}", {}) if _MANYLINUX.match(linux[1]) else None


async def solve(question: Question, index: str) -> tuple[Pin, ...] | None:
    """Return the releases that uv takes for ``question`` from the index at the URL ``index``, with
    their files, or ``None`` without an answer."""
    named = platform(question.target)
    has_hashes = any(each.hashes for each in question.wanted)
    if named is None or has_hashes or question.prefer_binary:
        return None  # uv does not know --prefer-binary

    with tempfile.TemporaryDirectory(prefix="pyindex-uv-") as scratch:
        directory = Path(scratch)
        (directory / "requirements.in").write_text("".join(_lines(question.wanted)))
        (directory / "constraints.in").write_text("".join(_lines(question.constraints)))
        arguments = list(_arguments(question, named[0]))
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=directory,
            env=environment(_settings(index) | named[1]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = await asyncio.wait_for(process.wait(), _SECONDS)
        except TimeoutError:
            return None
        finally:
            await end(process)
        if code != 0:
            return None
        demand = await asyncio.to_thread(read, directory / "pylock.toml")
        return demand.lock.pins(question.target) if demand.lock else None


def _arguments(question: Question, platform_name: str) -> Iterator[str]:
    yield from (find_uv_bin(), "pip", "compile", "--no-config", "--quiet", "--no-build")
    # Without a Python uv asks each that is installed.
    yield from ("--python", sys.executable)
    yield from ("--python-version", question.target.python, "--python-platform", platform_name)
    # The client has a cache; what uv kept would hide what is new.
    yield from ("--no-cache", "--no-python-downloads", "--no-header")
    yield from ("--format", "pylock.toml", "--output-file", "pylock.toml")
    yield from ("--constraints", "constraints.in", "requirements.in")
    if question.pre:
        yield from ("--prerelease", "allow")
    if question.no_deps:
        yield "--no-deps"
    for project in sorted(question.formats.no_binary):
        yield from ("--no-binary", project)


def _settings(index: str) -> dict[str, str]:
    # The client has repeated what failed.
    return {
        "UV_DEFAULT_INDEX": index,
        "UV_HTTP_RETRIES": "0",
        "UV_HTTP_TIMEOUT": str(_SECONDS),
    }


def _lines(wanted: tuple[Wanted, ...]) -> Iterator[str]:
    return (f"{each.requirement}\n" for each in wanted)
