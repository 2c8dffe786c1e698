"""The specs of the hosts that the plays make."""

from pathlib import Path

import yaml

NAME = "pypi.lab.example"


def settings(folder: Path, name: str = NAME, system: str = "debian-12", **changes: object) -> Path:
    """The spec of a host, in a file; *changes* are to its top level."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyindex.yml"
    data = {
        "url": f"http://{name}",
        "state": "/var/lib/pyindex",
        "indexes": {"main": {"packages": "/srv/pyindex/packages"}},
        "host": {"system": system},
    }
    path.write_text(yaml.safe_dump(data | changes, sort_keys=False))
    return path
