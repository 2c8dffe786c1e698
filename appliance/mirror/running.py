"""Programs that mirror runs: with a clean environment and a time limit, ended with all that they
started."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.errors import PyindexError
from appliance.text import printable, without_login

_KEPT = ("HOME", "PATH", "NETRC")
_SHOWN_BYTES, _SHOWN_LINES = 16 * 1024, 12


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: nothing of the own one but HOME, PATH and NETRC."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(variables)


async def run(
    what: str, arguments: Sequence[str], directory: Path, env: Mapping[str, str], seconds: float
) -> str:
    """Run a program in ``directory``, and return what it prints; the end of that is enough.

    Raises :class:`PyindexError`, which begins with ``what`` and has the last lines, if it fails or
    takes longer than ``seconds``.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                cwd=directory,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise PyindexError(f"{what}: {error.filename}: {error.strerror}; install it") from None
        problem = ""
        try:
            code = await asyncio.wait_for(process.wait(), seconds)
            problem = f"exit code {code}" if code else ""
        except TimeoutError:
            problem = f"not done after {seconds:.0f} s"
        finally:
            await end(process)
        text = _end_of(output.fileno())
        if problem:
            raise PyindexError(f"{what}: {problem}{_last_lines(text)}")
        return text


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of a program that leads a session, and of the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _end_of(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, _SHOWN_BYTES, max(0, size - _SHOWN_BYTES))
    return content.decode("utf-8", "replace")


def _last_lines(text: str) -> str:
    lines = [printable(without_login(line.rstrip())) for line in text.splitlines() if line.strip()]
    return "".join(f"\n  {line}" for line in lines[-_SHOWN_LINES:])
