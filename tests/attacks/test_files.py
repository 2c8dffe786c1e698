"""Files that must do no harm, each before a running index: it is refused, and all else goes on."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.attacks.tables import FILES, HostileFile
from tests.attacks.target import Target, before, stays_up
from tests.conftest import eventually

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_stops_it(attacked: Target, file: HostileFile) -> None:
    """It is listed with the reason of its kind."""
    since = before(attacked)
    place = attacked.packages / f"hostile{next(attacked.numbers)}"
    place.mkdir()
    try:
        with TemporaryDirectory(dir=attacked.folder) as apart:
            path = file.write(Path(apart))
            path = path.rename(place / path.name)
        stays_up(attacked, since)
        eventually(partial(is_refused, attacked, f"{place.name}/{path.name}", file.reason))
        assert attacked.get(f"/packages/{place.name}/{path.name}").status == 404
    finally:
        attacked.clear()


def is_refused(attacked: Target, path: str, reason: str) -> bool:
    found = attacked.refused().get(path)
    assert found is None or reason in found, found
    return found is not None
