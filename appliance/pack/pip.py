"""The pip of the Python that runs pyindex, as a command."""

import os
import subprocess
import sys
from importlib.util import find_spec

from appliance.errors import PyindexError

_EPOCH = 1577836800  # 2020-01-01: the members of a wheel have one date, so it is reproducible


def check_installed() -> None:
    """Raise PyindexError if there is no pip."""
    if find_spec("pip") is None:
        raise PyindexError(f"{sys.executable}: no pip; run `{sys.executable} -m ensurepip`")


def run(verb: str, *arguments: str) -> None:
    """Run ``pip VERB``. Raises PyindexError with its message."""
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
    process = subprocess.run(
        [*command, *arguments],
        env=os.environ | {"SOURCE_DATE_EPOCH": str(_EPOCH)},
        umask=0o022,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    if process.returncode:
        errors = [line for line in process.stderr.splitlines() if line.startswith("ERROR:")]
        lines = errors or process.stderr.split("\n")[-3:]
        raise PyindexError(
            f"pip {verb} failed: {' '.join(lines).replace('ERROR: ', '').strip()}\n"
            "packing requires an index; set one in pip's configuration or PIP_INDEX_URL"
        )
