"""Real upload clients: first upload, the same again, and what is refused.

``python -m tests.integration.test_uploaders`` runs all of them with HTTPS through nginx, and writes
what a user sees into docs/reference/uploads.md.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.clients import Environments
from tests.integration.uploaders import (
    PASSWORDS,
    UPLOADERS,
    Attempt,
    Command,
    Target,
    Uploader,
    behind_nginx,
    embedded,
    prepare,
    shown,
    uv,
)

pytestmark = pytest.mark.integration
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "uploads.md"
BLOCK = re.compile("(?<=<!-- clients -->\n).*?(?=<!-- /clients -->)", re.S)
SITUATIONS = (
    *("first upload", "same again", "other bytes", "bad password", "no right"),
    *("too large", "bad archive"),
)
_VERSIONS = {"same again": "1.0", "other bytes": "1.0", "first upload": "1.0"}


def attempts(uploader: Uploader, root: Path) -> Iterator[tuple[str, Attempt]]:
    """Yield the attempts of a client, each with its situation."""
    name = "demo-" + "-".join(re.findall("[a-z0-9]+", uploader.title.lower()))
    for number, situation in enumerate(SITUATIONS):
        if situation == "bad archive" and uploader.builds:
            continue
        if situation == "same again" and not uploader.repeats:
            continue
        version = _VERSIONS.get(situation, f"{number}.0")
        attempt = Attempt(root / str(number), name, version)
        if situation == "bad password":
            attempt = replace(attempt, password="wrong")
        if situation == "no right":
            attempt = replace(attempt, account="carol", password=PASSWORDS["carol"])
        prepare(attempt, situation)
        yield situation, attempt


def outcomes(
    uploader: Uploader, target: Target, environments: Environments
) -> Iterator[tuple[str, bool, str]]:
    """Upload in each situation; yield it, whether the client succeeded, and what it showed."""
    environment = environments(uploader.client)
    for situation, attempt in attempts(uploader, environments.scratch / "projects"):
        code, output = uploader.run(environment, attempt, target)
        yield situation, code == 0, shown(output, target)


def row(uploader: Uploader, situation: str, succeeds: bool, text: str) -> str:
    """Return a row of the table."""
    text = text.replace("|", "\\|").replace("`", "'")
    return f"| {uploader.title} | {situation} | {'succeeds' if succeeds else 'fails'} | `{text}` |"


def recorded() -> set[tuple[str, str, str]]:
    """Return client, situation and outcome of each row in the documentation."""
    lines = BLOCK.findall(PAGE.read_text())[0].splitlines()
    cells = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines]
    return {(first, second, third) for first, second, third in filter(None, cells)}


@pytest.fixture(scope="session", params=[embedded, behind_nginx], ids=lambda form: form.__name__)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """Index that accepts uploads, from the embedded server and through nginx with HTTPS."""
    with request.param(tmp_path_factory.mktemp("index")) as running:
        yield running


@pytest.mark.parametrize("uploader", UPLOADERS, ids=lambda uploader: uploader.title)
def test_clients_upload(uploader: Uploader, target: Target, environments: Environments) -> None:
    """Each client succeeds with a new file and the same again, and shows why others are refused."""
    known = recorded()
    for situation, succeeds, text in outcomes(uploader, target, environments):
        outcome = "succeeds" if succeeds else "fails"
        assert (uploader.title, situation, outcome) in known, text
        assert succeeds == (situation in ("first upload", "same again")), text


def test_check_url_of_private_index(environments: Environments, tmp_path: Path) -> None:
    """`uv publish --check-url` uploads the first file of an index that requires login, once."""
    with embedded(tmp_path, read="members") as private:
        attempt = Attempt(tmp_path / "project", "demo-private", "1.0")
        prepare(attempt, "first upload")
        environment, uploader = environments("uv"), Uploader("uv", "uv", _private_uv)
        for text in ("Uploading", "already exists, skipping"):
            code, output = uploader.run(environment, attempt, private)
            assert code == 0, output
            assert text in output


def _private_uv(attempt: Attempt, target: Target) -> Command:
    """`uv publish` that finds the login for the project page in its URL."""
    (*arguments, wheel), variables = uv(attempt, target)
    url = target.url.replace("//", f"//{attempt.account}:{attempt.password}@")
    return (*arguments, "--check-url", f"{url}/simple/", wheel), variables


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="up") as name:
        yield Path(name)


def main() -> None:
    """Write the table of the documentation."""
    rows = ["\n| client | situation | outcome | shown |", "| --- | --- | --- | --- |"]
    with _scratch() as directory, behind_nginx(directory) as running:
        for number, uploader in enumerate(UPLOADERS):
            environments = Environments(directory / str(number))
            for situation, succeeds, text in outcomes(uploader, running, environments):
                rows.append(row(uploader, situation, succeeds, text))
                print(rows[-1], flush=True)
    block = "\n".join([*rows, "\n"])
    PAGE.write_text(BLOCK.sub(lambda _: block, PAGE.read_text()))


if __name__ == "__main__":
    main()
