"""Core metadata files (PEP 658): storage at intake, publication, recovery after interruptions."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from falcon.testing import TestClient

from appliance.catalog.metadata import KeptMetadata
from appliance.incoming.scan import Scanner
from appliance.operations import decisions
from appliance.operations.rebuild import rebuild
from appliance.site.files import metadata_paths
from appliance.site.publish import Publisher
from appliance.site.tree import Site
from appliance.web.app import create_app
from tests.conftest import Lab, scanned
from tests.dist import make_sdist, make_wheel

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def published(lab: Lab, path: str = WHEEL) -> Path:
    return Path(Site(lab.spec).metadata(lab.index, path))


def kept(lab: Lab, path: str = WHEEL) -> Path:
    return Path(KeptMetadata(lab.spec.state).path(lab.index, path))


def accept(lab: Lab) -> None:
    """Scan the packages directory into the catalog without publishing."""
    for _ in Scanner(lab.spec, lab.catalog, lab.index).scan():
        pass
    scanned(lab.spec)


def publish(lab: Lab) -> None:
    Publisher(lab.spec, lab.catalog).publish()


def is_published_once(lab: Lab, path: str = WHEEL) -> bool:
    """Return whether the published metadata has the promised digest and is stored only once."""
    with lab.catalog.read() as reader:
        file = reader.file_at(lab.index, path)
    assert file is not None
    digest = hashlib.sha256(published(lab, path).read_bytes()).hexdigest()
    return digest == file.core_metadata and not kept(lab, path).exists()


@pytest.fixture
def accepted(lab: Lab) -> Lab:
    """Index with one file that is in the catalog but not yet published."""
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    make_wheel(lab.packages, "foo", "1.0", summary="first")
    accept(lab)
    return lab


def test_scan_stores_metadata_without_publishing(accepted: Lab) -> None:
    """The scanner stores the metadata, and the publisher moves it into the published tree."""
    assert not published(accepted).exists()
    assert b"Summary: first" in kept(accepted).read_bytes()
    publish(accepted)
    assert is_published_once(accepted)


def missing(lab: Lab) -> None:
    kept(lab).unlink()


def truncated(lab: Lab) -> None:
    os.truncate(kept(lab), 10)


def overwritten(lab: Lab) -> None:
    kept(lab).write_bytes(b"Metadata-Version: 2.1\nName: other\n")


def published_already(lab: Lab) -> None:
    published(lab).write_bytes(kept(lab).read_bytes())


def moved_but_not_marked(lab: Lab) -> None:
    kept(lab).rename(published(lab))


@pytest.mark.parametrize(
    "end",
    [missing, truncated, overwritten, published_already, moved_but_not_marked],
    ids=lambda end: end.__name__,
)
def test_publication_resumes_after_interruption(accepted: Lab, end: Callable[[Lab], None]) -> None:
    """The next publication completes an interrupted one, from the package file if need be."""
    end(accepted)
    publish(accepted)
    assert b"Summary: first" in accepted.metadata(WHEEL)
    publish(accepted)
    assert b"Summary: first" in accepted.metadata(WHEEL)


def test_metadata_is_found_while_it_is_published(accepted: Lab) -> None:
    """Who looks for metadata finds it, also if it is published between two looks."""
    site, store = Site(accepted.spec), KeptMetadata(accepted.spec.state)
    first, *others = metadata_paths(site, store, accepted.index, WHEEL)
    assert not Path(first).exists()
    accepted.once()
    assert [Path(path).exists() for path in others] == [False, True]


def test_replaced_file_gets_new_metadata(accepted: Lab) -> None:
    """The publisher keeps the old metadata of a replaced file until it publishes the new."""
    publish(accepted)
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    assert b"Summary: first" in published(accepted).read_bytes()
    publish(accepted)
    assert b"Summary: second" in published(accepted).read_bytes()
    assert is_published_once(accepted)


def test_lost_metadata_of_replaced_file_is_read_again(accepted: Lab) -> None:
    """The publisher reads lost metadata of a replaced file from the file."""
    publish(accepted)
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    kept(accepted).unlink()
    publish(accepted)
    assert b"Summary: second" in published(accepted).read_bytes()


def test_touched_file_keeps_one_copy_of_metadata(accepted: Lab) -> None:
    """A scan of a file with new mtime and old content stores no second copy of metadata."""
    publish(accepted)
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    assert is_published_once(accepted)


def test_quarantine_moves_metadata_out_and_back(accepted: Lab) -> None:
    """A quarantine moves published metadata into the store, and its end publishes it again."""
    publish(accepted)
    decisions.set_status(accepted.spec, accepted.index, "foo", "quarantined", None)
    assert kept(accepted).exists()
    assert not published(accepted).exists()
    decisions.set_status(accepted.spec, accepted.index, "foo", "active", None)
    assert is_published_once(accepted)


def test_quarantine_keeps_metadata_of_replaced_file(accepted: Lab) -> None:
    """A quarantine keeps the new metadata of a file that was replaced before the publication."""
    publish(accepted)
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    with accepted.catalog.change() as change:
        change.set_status(accepted.index, "foo", "quarantined", None)
    publish(accepted)
    assert b"Summary: second" in kept(accepted).read_bytes()
    decisions.set_status(accepted.spec, accepted.index, "foo", "active", None)
    assert is_published_once(accepted)


@pytest.mark.parametrize("is_published", [False, True])
def test_moved_file_keeps_metadata(accepted: Lab, is_published: bool) -> None:
    """The publisher moves stored and published metadata with a moved file."""
    make_sdist(accepted.packages, "foo", "1.0")
    accept(accepted)
    if is_published:
        publish(accepted)
    (accepted.packages / "sub").mkdir()
    for name in (WHEEL, "foo-1.0.tar.gz"):
        (accepted.packages / name).rename(accepted.packages / "sub" / name)
    accept(accepted)
    publish(accepted)
    assert is_published_once(accepted, f"sub/{WHEEL}")
    assert kept(accepted, "sub/foo-1.0.tar.gz").exists()
    for name in (WHEEL, "foo-1.0.tar.gz"):
        assert not published(accepted, name).exists()
        assert not kept(accepted, name).exists()


def test_deleted_file_leaves_no_metadata(accepted: Lab) -> None:
    """The publisher removes all metadata of a deleted file, and empty directories."""
    (accepted.packages / "sub").mkdir()
    make_sdist(accepted.packages / "sub", "baz", "1.0")
    accepted.once()
    assert kept(accepted, "sub/baz-1.0.tar.gz").exists()
    shutil.rmtree(accepted.packages / "sub")
    (accepted.packages / WHEEL).unlink()
    accepted.once()
    assert not published(accepted).exists()
    assert not kept(accepted, "sub").parent.joinpath("sub").exists()


def test_duplicate_leaves_no_metadata(accepted: Lab) -> None:
    """The rejection of a duplicate removes its stored metadata."""
    (accepted.packages / "sub").mkdir()
    make_wheel(accepted.packages / "sub", "foo", "1.0", summary="second")
    accepted.once()
    assert list(accepted.refused()) == [f"sub/{WHEEL}"]
    assert not kept(accepted, f"sub/{WHEEL}").exists()
    assert not published(accepted, f"sub/{WHEEL}").exists()


@pytest.mark.parametrize("lost_part", ["www", "catalog.sqlite", "metadata"])
def test_metadata_is_rebuilt_after_loss(accepted: Lab, lost_part: str) -> None:
    """An update rebuilds metadata after the loss of published tree, catalog or store."""
    publish(accepted)
    path = accepted.spec.state / lost_part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    accepted.once()
    assert is_published_once(accepted)
    list(rebuild(accepted.spec))
    assert is_published_once(accepted)


def test_metadata_is_copied_to_another_file_system(accepted: Lab, small_disk: Path) -> None:
    """The publisher copies metadata into a published tree on another file system."""
    shutil.move(accepted.spec.www, small_disk / "www")
    accepted.spec.www.symlink_to(small_disk / "www")
    publish(accepted)
    assert is_published_once(accepted)


def test_json_api_has_new_metadata_before_publication(accepted: Lab) -> None:
    """The JSON API answers with the metadata in the catalog, also before its publication."""
    client = TestClient(create_app(accepted.spec))

    def summary() -> str:
        text: str = client.simulate_get("/pypi/foo/json").json["info"]["summary"]
        return text

    assert summary() == "first"
    publish(accepted)
    assert summary() == "first"
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    assert summary() == "second"
    publish(accepted)
    assert summary() == "second"
