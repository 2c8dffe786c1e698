"""Hostile files before a running index: each is rejected, and other files stay served."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.attacks.tables import FILES, HostileFile
from tests.attacks.target import FORMS, Target, before, stays_up
from tests.conftest import eventually

pytestmark = pytest.mark.integration


# The watcher is the same behind both forms, so each has every other file. Some together: what is
# checked after an attack takes longer than most attacks.
_AT_ONCE = 10
EACH = [
    (form, files[start : start + _AT_ONCE])
    for number, form in enumerate(FORMS)
    for files in [FILES[number :: len(FORMS)]]
    for start in range(0, len(files), _AT_ONCE)
]
NAMES = [f"{form.__name__}-{files[0].name}, ..." for form, files in EACH]


@pytest.mark.parametrize(("shared", "files"), EACH, ids=NAMES, indirect=["shared"])
def test_index_rejects_hostile_files(attacked: Target, files: list[HostileFile]) -> None:
    """The watcher rejects each hostile file with the reason of its kind and continues to work."""
    since = before(attacked)
    try:
        reasons = dict(put(file, attacked) for file in files)
        stays_up(attacked, since)
        for path, reason in reasons.items():
            eventually(partial(is_rejected, attacked, path, reason))
            assert attacked.get(f"/packages/{path}").status == 404, path
    finally:
        attacked.clear()


def put(file: HostileFile, attacked: Target) -> tuple[str, str]:
    """Move a hostile file into a new directory; return its path and the reason to reject it."""
    directory = attacked.packages / f"hostile{next(attacked.numbers)}"
    directory.mkdir()
    with TemporaryDirectory(dir=attacked.directory) as apart:
        path = file.write(Path(apart))
        path = path.rename(directory / path.name)
    return f"{directory.name}/{path.name}", file.reason


def is_rejected(attacked: Target, path: str, reason: str) -> bool:
    reported = attacked.refused().get(path)
    assert reported is None or reason in reported, f"{path}: {reported}"
    return reported is not None
