"""Two sides of a gap: an index that makes bundles, and an index that loads them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.bundle.load import Loaded, Options, load
from appliance.bundle.minisign import PublicKey, SecretKey
from appliance.bundle.write import Written, write
from tests.conftest import Lab
from tests.dist import make_sdist, make_wheel, uploaded
from tests.wholeness import digest

SECRET = SecretKey(b"\1" * 8, b"\2" * 32)
OTHER = SecretKey(b"\3" * 8, b"\4" * 32)
KEY = SECRET.public.line


@dataclass(frozen=True)
class Sides:
    """The index that makes bundles, that which loads them, and a directory between them."""

    near: Lab
    far: Lab
    stick: Path

    @property
    def out(self) -> Path:
        return self.stick / "out.tar"

    def bundle(self, name: str = "out.tar", **options: Any) -> Written:
        """Publish the near index, and bundle it."""
        self.near.once()
        return write(self.stick / name, self.near.spec, self.near.index, **options)

    def load(self, *paths: Path, **options: Any) -> Loaded:
        return load(self.far.spec, self.far.index, paths or [self.out], Options(**options))


def sides(root: Path) -> Sides:
    """Return sides of which the near one has files of every kind, and the far one a wheel."""
    for name in ("near", "far", "stick"):
        (root / name).mkdir()
    both = Sides(Lab(root / "near"), Lab(root / "far"), root / "stick")
    furnish(both.near)
    make_wheel(both.far.packages, "own", "1.0")
    return both


def furnish(lab: Lab) -> None:
    packages = lab.packages
    for number in range(3):
        make_wheel(packages, f"p{number}", "1.0", summary=f"project {number}")
    (packages / "sub").mkdir()
    sdist = make_sdist(packages / "sub", "q", "1.0")
    sdist.with_name(f"{sdist.name}.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    uploaded(packages / "p1-1.0-py2.py3-none-any.whl", "2020-02-02T02:02:02.5+00:00")
    (packages / ("d" * 60)).mkdir()
    make_wheel(packages / ("d" * 60), "a" + "x" * 60, "1.0")


def seen(lab: Lab) -> dict[str, object]:
    """Return all that an index has and shows: files, pages, rows of the catalog, decisions. An
    index without catalog is scanned first."""
    state = lab.spec.state
    if not lab.spec.catalog.exists():
        lab.once()
    log = state / "decisions.jsonl"
    return {
        "packages": _tree(lab.packages),
        "pages": _tree(lab.spec.www),
        "metadata": _tree(state / "metadata"),
        "receipts": _tree(state / "receipts"),
        "record": (state / "loading.json").exists(),
        "log": log.read_bytes() if log.exists() else b"",
        "rows": _rows(lab.spec.catalog),
    }


def _tree(top: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(top)): (digest(path.read_bytes()), path.stat().st_mtime_ns)
        for path in top.rglob("*")
        if path.is_file()
    }


def _rows(catalog: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(catalog)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables: Sequence[tuple[str]] = connection.execute(query).fetchall()
        return {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
            for (name,) in tables
            if not name.startswith("sqlite_")
        }


def keys(*secrets: SecretKey) -> list[PublicKey]:
    return [secret.public for secret in secrets]
