"""OpenPGP signatures (RFC 9580) of repositories, verified by gpg."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from appliance.errors import PyindexError


def verify(file: Path, signature: bytes, key: Path, url: str) -> None:
    """Verify a detached ``signature`` of ``file``, which came from ``url``, by the public keys in
    ``key`` and no others. Raises PyindexError if none of them has made it."""
    if shutil.which("gpg") is None:
        raise PyindexError(f"{url}: signed, and gpg is not installed here; install gnupg")
    with tempfile.TemporaryDirectory() as home:
        if reason := _run(home, "--import", str(key)):
            raise PyindexError(f"{key}: no public key (OpenPGP): {reason}; correct the path")
        detached = Path(home, "signature")
        detached.write_bytes(signature)
        if reason := _run(home, "--verify", str(detached), str(file)):
            problem = f"not signed by a key of {key}: {reason}"
            raise PyindexError(f"{url}: {problem}; use another mirror or key")


def _run(home: str, *arguments: str) -> str:
    """Run gpg with keys in ``home`` only; return the reason if it fails."""
    options = ("--homedir", home, "--batch", "--no-options", "--no-autostart", "--no-tty")
    process = subprocess.run(
        ["gpg", *options, "--trust-model", "always", *arguments],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if process.returncode == 0:
        return ""
    lines = [line.removeprefix("gpg: ") for line in process.stderr.splitlines()]
    # First it says what it created, and when and with which key the signature was made.
    reasons = [line for line in lines if not line.startswith(("keybox", "Signature made", " "))]
    return reasons[0] if reasons else f"gpg ended with {process.returncode}"
