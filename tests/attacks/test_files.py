"""Hostile files before a running index: each is rejected, and other files stay served."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.attacks.tables import FILES, HostileFile
from tests.attacks.target import FORMS, Target, before, stays_up
from tests.conftest import eventually

pytestmark = pytest.mark.integration


# The watcher is the same behind both forms, so each has every other file.
EACH = [(form, file) for number, form in enumerate(FORMS) for file in FILES[number :: len(FORMS)]]
NAMES = [f"{form.__name__}-{file.name}" for form, file in EACH]


@pytest.mark.parametrize(("shared", "file"), EACH, ids=NAMES, indirect=["shared"])
def test_index_rejects_hostile_file(attacked: Target, file: HostileFile) -> None:
    """The watcher rejects a hostile file with the reason of its kind and continues to work."""
    since = before(attacked)
    directory = attacked.packages / f"hostile{next(attacked.numbers)}"
    directory.mkdir()
    try:
        with TemporaryDirectory(dir=attacked.directory) as apart:
            path = file.write(Path(apart))
            path = path.rename(directory / path.name)
        stays_up(attacked, since)
        eventually(partial(is_rejected, attacked, f"{directory.name}/{path.name}", file.reason))
        assert attacked.get(f"/packages/{directory.name}/{path.name}").status == 404
    finally:
        attacked.clear()


def is_rejected(attacked: Target, path: str, reason: str) -> bool:
    reported = attacked.refused().get(path)
    assert reported is None or reason in reported, reported
    return reported is not None
