"""Provenance of files (PEP 740): from the pages of an upstream into an index, through a bundle into
another one."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.bundle.companions import LARGEST
from appliance.cli import main
from appliance.index.names import PROVENANCE
from appliance.mirror.provenance import fetch_provenance
from appliance.upstream import Client, RemoteFile, Upstreams
from tests.dist import make_wheel
from tests.integration.servers import Server, embedded
from tests.mirror.test_mirror import mirror
from tests.mirror.test_yanks import NEW, OLD, run
from tests.upstream.faulty import Behavior, serving, status

pytestmark = pytest.mark.integration

DOCUMENT = b'{"version": 1, "attestation_bundles": []}'
MIB = 1 << 20


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Server]:
    """An upstream with two releases of foo, of which the new one has a provenance."""
    directory = tmp_path / "upstream" / "packages"
    directory.mkdir(parents=True)
    make_wheel(directory, "foo", "1.0")
    make_wheel(directory, "foo", "2.0")
    (directory / f"{NEW}{PROVENANCE}").write_bytes(DOCUMENT)
    with embedded(directory, directory.parent) as server:
        yield server


def on_pages(packages: Path) -> dict[str, Any]:
    """The URL of the provenance of each file of foo, as pages state it."""
    page = packages.parent / "state/www/simple/foo/index.json"
    files = json.loads(page.read_bytes())["files"]
    return {file["filename"]: file.get("provenance") for file in files}


def kept(packages: Path) -> dict[str, bytes]:
    """Content by name of all files in a packages directory that are no package files."""
    return {path.name: path.read_bytes() for path in packages.iterdir() if path.suffix != ".whl"}


def test_provenance_goes_across(tmp_path: Path, packages: Path, index: Server) -> None:
    assert mirror(packages, index, "foo==1.0")["notes"] == []
    assert mirror(packages, index, "foo==2.0")["notes"] == []
    assert kept(packages) == {f"{NEW}{PROVENANCE}": DOCUMENT}
    assert on_pages(packages) == {OLD: None, NEW: f"../../packages/{NEW}{PROVENANCE}"}

    far = tmp_path / "far" / "packages"
    far.mkdir(parents=True)
    run(packages, "bundle", str(tmp_path / "out.tar"))
    run(far, "load", str(tmp_path / "out.tar"), "--allow-unsigned")
    assert kept(far) == kept(packages)
    assert on_pages(far) == on_pages(packages)

    folder = tmp_path / "folder" / "packages"
    folder.mkdir(parents=True)
    run(folder, "load", str(packages))
    assert kept(folder) == kept(packages)


def page_with(url: str, tmp_path: Path, wheels: Path) -> str:
    """Write an index of files whose page states ``url`` as the provenance of each; return its
    URL."""
    page = tmp_path / "static" / "simple" / "foo" / "index.html"
    page.parent.mkdir(parents=True)
    links = (
        f'<a href="{path.as_uri()}" data-provenance="{url}">{path.name}</a>'
        for path in sorted(wheels.glob("*.whl"))
    )
    page.write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
    return (tmp_path / "static").as_uri()


def answer(content: bytes) -> Behavior:
    return lambda exchange: exchange.answer(content)


BAD: dict[str, tuple[Behavior, str]] = {
    "missing": (status(404), ""),
    "failing": (status(500), "the server answered 500"),
    "no JSON": (answer(b"<html>"), "expected a JSON object"),
    "no object": (answer(b"[]"), "expected a JSON object"),
    "too large": (answer(b"{" + b" " * MIB + b"}"), "larger than"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_comes_without_what_cannot_be_fetched(
    tmp_path: Path, packages: Path, index: Server, name: str
) -> None:
    """One request tells; the file is in the index, and a note says what is missing."""
    behavior, expected = BAD[name]
    with serving() as host:
        host.behaviors["/p"] = behavior
        base = page_with(f"{host.url}/p", tmp_path, index.packages)
        notes = mirror(packages, index, "foo", base=base)["notes"]
        assert host.paths() == ["/p"]

    assert [expected in note for note in notes] == [True] * bool(expected)
    assert on_pages(packages) == {NEW: None}
    assert kept(packages) == {}


def test_a_failing_host_is_asked_for_one_file(tmp_path: Path) -> None:
    with serving() as host:
        host.behaviors["/p"] = status(503)
        files = [
            RemoteFile(f"{name}-1-py3-none-any.whl", "", provenance=f"{host.url}/p")
            for name in "abc"
        ]

        async def main() -> list[str]:
            async with Client(Upstreams()) as client:
                return await fetch_provenance(client, files, tmp_path)

        (note,) = asyncio.run(main())
        assert host.paths() == ["/p"]
    assert note.endswith("without its provenance, and 2 other files without theirs")


def test_too_large_for_a_bundle(
    packages: Path, index: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror(packages, index, "foo")
    path = packages / f"{NEW}{PROVENANCE}"
    path.write_bytes(bytes(LARGEST[PROVENANCE] + 1))
    state = str(packages.parent / "state")
    arguments = ["bundle", str(packages.parent / "out.tar"), "-d", str(packages)]
    assert main([*arguments, "--state", state]) == 1
    assert f"{path}: larger than 1024 KiB; delete it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x-1-py3-none-any.whl", "/tmp/x-1-py3-none-any.whl", "x"])
def test_a_name_that_no_file_may_have_is_not_written(tmp_path: Path, name: str) -> None:
    with serving() as host:
        host.behaviors["/p"] = answer(DOCUMENT)
        file = RemoteFile(name, "", provenance=f"{host.url}/p")
        inside = tmp_path / "inside"
        inside.mkdir()

        async def main() -> list[str]:
            async with Client(Upstreams()) as client:
                return await fetch_provenance(client, [file], inside)

        assert asyncio.run(main()) == []
        assert host.paths() == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
