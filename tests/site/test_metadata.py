"""Metadata on its way from whoever accepts a file to whoever reads it (PEP 658), and back: wherever
that ends, the next publication goes on."""

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
from appliance.operations.recover import rebuild
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
    """Bring the catalog up to the packages directory, and publish nothing."""
    for _ in Scanner(lab.spec, lab.catalog, lab.index).scan():
        pass
    scanned(lab.spec)


def publish(lab: Lab) -> None:
    Publisher(lab.spec, lab.catalog).publish()


def is_right(lab: Lab, path: str = WHEEL) -> bool:
    """Whether the metadata is what the page promises, and there once."""
    with lab.catalog.read() as reader:
        file = reader.file_at(lab.index, path)
    assert file is not None
    digest = hashlib.sha256(published(lab, path).read_bytes()).hexdigest()
    return digest == file.core_metadata and not kept(lab, path).exists()


@pytest.fixture
def accepted(lab: Lab) -> Lab:
    """An index whose pages lack a file that the catalog has."""
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    make_wheel(lab.packages, "foo", "1.0", summary="first")
    accept(lab)
    return lab


def test_nothing_is_published_by_who_accepts(accepted: Lab) -> None:
    """The metadata is kept until the publisher moves it."""
    assert not published(accepted).exists()
    assert b"Summary: first" in kept(accepted).read_bytes()
    publish(accepted)
    assert is_right(accepted)


def lost(lab: Lab) -> None:
    kept(lab).unlink()


def half_written(lab: Lab) -> None:
    os.truncate(kept(lab), 10)


def of_another_file(lab: Lab) -> None:
    kept(lab).write_bytes(b"Metadata-Version: 2.1\nName: other\n")


def published_already(lab: Lab) -> None:
    published(lab).write_bytes(kept(lab).read_bytes())


def moved_but_not_marked(lab: Lab) -> None:
    kept(lab).rename(published(lab))


@pytest.mark.parametrize(
    "end",
    [lost, half_written, of_another_file, published_already, moved_but_not_marked],
    ids=lambda end: end.__name__,
)
def test_wherever_a_publication_ends_the_next_goes_on(
    accepted: Lab, end: Callable[[Lab], None]
) -> None:
    """What is neither kept nor published is read from the file."""
    end(accepted)
    publish(accepted)
    assert b"Summary: first" in accepted.metadata(WHEEL)
    publish(accepted)
    assert b"Summary: first" in accepted.metadata(WHEEL)


def test_a_file_that_is_replaced_has_its_new_metadata(accepted: Lab) -> None:
    """Its former one is there until then, and is not taken for it."""
    publish(accepted)
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    assert b"Summary: first" in published(accepted).read_bytes()
    publish(accepted)
    assert b"Summary: second" in published(accepted).read_bytes()
    assert is_right(accepted)


def test_what_is_kept_for_a_replaced_file_may_be_lost(accepted: Lab) -> None:
    """The published metadata is compared with what the page promises, too."""
    publish(accepted)
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    kept(accepted).unlink()
    publish(accepted)
    assert b"Summary: second" in published(accepted).read_bytes()


def test_a_file_that_is_touched_is_published_once(accepted: Lab) -> None:
    """Of the same bytes nothing is kept a second time."""
    publish(accepted)
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    assert is_right(accepted)


def test_a_quarantined_project_has_its_metadata_back_afterwards(accepted: Lab) -> None:
    """It is kept meanwhile; that of a file that was replaced meanwhile is the newer one."""
    publish(accepted)
    decisions.set_status(accepted.spec, accepted.index, "foo", "quarantined", None)
    assert kept(accepted).exists()
    assert not published(accepted).exists()
    decisions.set_status(accepted.spec, accepted.index, "foo", "active", None)
    assert is_right(accepted)


def test_a_file_may_be_replaced_and_quarantined_at_once(accepted: Lab) -> None:
    """The metadata of the former file does not come in the place of that of the new one."""
    publish(accepted)
    make_wheel(accepted.packages, "foo", "1.0", summary="second")
    os.utime(accepted.packages / WHEEL, (1, 1))
    accept(accepted)
    with accepted.catalog.change() as change:
        change.set_status(accepted.index, "foo", "quarantined", None)
    publish(accepted)
    assert b"Summary: second" in kept(accepted).read_bytes()
    decisions.set_status(accepted.spec, accepted.index, "foo", "active", None)
    assert is_right(accepted)


@pytest.mark.parametrize("is_published", [False, True])
def test_a_file_that_moves_takes_its_metadata_along(accepted: Lab, is_published: bool) -> None:
    """Also before it was published, and what no page promises; nothing is left behind."""
    make_sdist(accepted.packages, "foo", "1.0")
    accept(accepted)
    if is_published:
        publish(accepted)
    (accepted.packages / "sub").mkdir()
    for name in (WHEEL, "foo-1.0.tar.gz"):
        (accepted.packages / name).rename(accepted.packages / "sub" / name)
    accept(accepted)
    publish(accepted)
    assert is_right(accepted, f"sub/{WHEEL}")
    assert kept(accepted, "sub/foo-1.0.tar.gz").exists()
    for name in (WHEEL, "foo-1.0.tar.gz"):
        assert not published(accepted, name).exists()
        assert not kept(accepted, name).exists()


def test_a_file_that_goes_leaves_nothing(accepted: Lab) -> None:
    """Neither published nor kept, nor a directory."""
    (accepted.packages / "sub").mkdir()
    make_sdist(accepted.packages / "sub", "baz", "1.0")
    accepted.once()
    assert kept(accepted, "sub/baz-1.0.tar.gz").exists()
    shutil.rmtree(accepted.packages / "sub")
    (accepted.packages / WHEEL).unlink()
    accepted.once()
    assert not published(accepted).exists()
    assert not kept(accepted, "sub").parent.joinpath("sub").exists()


def test_a_duplicate_leaves_nothing(accepted: Lab) -> None:
    """What was kept for it is removed with its rejection."""
    (accepted.packages / "sub").mkdir()
    make_wheel(accepted.packages / "sub", "foo", "1.0", summary="second")
    accepted.once()
    assert list(accepted.refused()) == [f"sub/{WHEEL}"]
    assert not kept(accepted, f"sub/{WHEEL}").exists()
    assert not published(accepted, f"sub/{WHEEL}").exists()


@pytest.mark.parametrize("lose", ["www", "catalog.sqlite", "metadata"])
def test_what_is_lost_is_made_again(accepted: Lab, lose: str) -> None:
    """The tree, the catalog, or what is kept; then nothing is there twice."""
    publish(accepted)
    place = accepted.spec.state / lose
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    accepted.once()
    assert is_right(accepted)
    list(rebuild(accepted.spec))
    assert is_right(accepted)


def test_the_tree_may_be_on_another_file_system(accepted: Lab, small_disk: Path) -> None:
    """What cannot be renamed there is copied."""
    shutil.move(accepted.spec.www, small_disk / "www")
    accepted.spec.www.symlink_to(small_disk / "www")
    publish(accepted)
    assert is_right(accepted)


def test_the_json_api_knows_a_file_before_it_is_published(accepted: Lab) -> None:
    """And never tells the metadata of the file that it took the place of."""
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
