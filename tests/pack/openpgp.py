"""OpenPGP keys of repositories, made by gpg, and what they sign."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Keys:
    """A directory of gpg with a secret key. It must have a short path, for the sockets of its
    agent."""

    home: Path

    @property
    def public(self) -> Path:
        return self.home / "key.asc"

    def sign(self, path: Path) -> None:
        """Write a detached signature beside ``path``, as repositories of yum have it."""
        self.run("--armor", "--output", f"{path}.asc", "--detach-sign", str(path))

    def run(self, *arguments: str, cwd: Path | None = None) -> bytes:
        environment = os.environ | {"GNUPGHOME": str(self.home)}
        command = ["gpg", "--batch", *arguments]
        return subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, env=environment
        ).stdout


def make_keys(home: Path) -> Keys:
    """Make a pair of keys in a new directory."""
    home.chmod(0o700)
    keys = Keys(home)
    keys.run("--passphrase", "", "--quick-generate-key", "archive@example.org")
    keys.public.write_bytes(keys.run("--armor", "--export"))
    return keys
