"""Uploads into an index: what is stored, and what is refused."""

import base64
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from appliance.catalog.database import CatalogError
from appliance.errors import Unscanned
from appliance.incoming import processes
from appliance.incoming.directory import DirectoryMissing
from appliance.operations import decisions
from appliance.operations.opening import open_catalog
from appliance.uploads.receive import Uploads
from appliance.uploads.refused import Refused, is_full
from tests.conftest import Lab
from tests.dist import make_sdist
from tests.uploads.conftest import Inbox
from tests.uploads.forms import encode, fields_of, of_file

WHEEL = "foo-1.0-py2.py3-none-any.whl"


def test_upload_is_published_with_its_metadata(inbox: Inbox) -> None:
    """An upload is on the pages, the project list and the journal when it is answered."""
    path = inbox.wheel("foo", "1.0", requires_python=">=3.6")
    serial = inbox.send(of_file(path, "foo", "1.0"))

    assert inbox.files("foo") == [WHEEL]
    assert inbox.projects() == ["foo"]
    assert inbox.served(WHEEL) == path.read_bytes()
    assert b"Requires-Python: >=3.6" in inbox.metadata(WHEEL)
    *_, change = inbox.journal()
    assert (change.action, change.actor, change.address) == ("added", "alice", "192.0.2.7")
    assert change.serial == serial
    assert inbox.contents() == [WHEEL]


def test_scan_keeps_upload_as_it_is(inbox: Inbox) -> None:
    """A scan after an upload changes nothing, and examines nothing again."""
    serial = inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))
    inbox.once()
    with inbox.catalog.read() as reader:
        assert reader.serial() == serial


def test_sdist_of_any_spelling_is_stored(inbox: Inbox) -> None:
    """An sdist is stored under the name that its client gave it."""
    sdist = make_sdist(inbox.outside, "Foo.Bar", "1.0")
    inbox.send(of_file(sdist, "foo-bar", "1.0"))
    assert inbox.files("foo-bar") == ["Foo.Bar-1.0.tar.gz"]


def test_same_file_again_changes_nothing(inbox: Inbox) -> None:
    """The same file again is answered as before, as for a client that was cut off."""
    body = of_file(inbox.wheel("foo", "1.0"), "foo", "1.0")
    assert inbox.send(body) == inbox.send(body)
    assert [change.action for change in inbox.journal()] == ["owned", "added"]


def test_other_bytes_are_refused(inbox: Inbox) -> None:
    """A file with a used name and other bytes is refused, and the first one stays."""
    first = inbox.wheel("foo", "1.0")
    inbox.send(of_file(first, "foo", "1.0"))
    content = first.read_bytes()
    other = inbox.wheel("foo", "1.0", summary="other")
    with pytest.raises(Refused, match=rf"^File already exists \('{WHEEL}', with blake2_256 hash '"):
        inbox.send(of_file(other, "foo", "1.0"))
    assert inbox.served(WHEEL) == content
    assert inbox.contents() == [WHEEL]


def test_other_spelling_of_file_is_refused(inbox: Inbox) -> None:
    """A file whose name differs from that of another only in its spelling is refused."""
    inbox.send(of_file(make_sdist(inbox.outside, "foo-bar", "1.0"), "foo-bar", "1.0"))
    with pytest.raises(Refused, match=r"File already exists, in another spelling \('foo-bar-1.0"):
        inbox.send(of_file(make_sdist(inbox.outside, "Foo.Bar", "1.0"), "foo-bar", "1.0"))


def test_file_that_operator_dropped_is_kept(inbox: Inbox) -> None:
    """A file in the packages directory that is not scanned yet is not overwritten."""
    (inbox.packages / WHEEL).write_text("dropped")
    with pytest.raises(Refused, match="which the index has not accepted"):
        inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))
    assert (inbox.packages / WHEEL).read_text() == "dropped"


def test_policy_refuses_upload(inbox: Inbox) -> None:
    """A file that the policy refuses is not stored; the text names the rule. So is other content
    under the name of a removed file, while the same content returns."""
    first = of_file(inbox.wheel("foo", "1.0"), "foo", "1.0")
    inbox.send(first)
    decisions.remove(inbox.spec, inbox.index, WHEEL)
    other = of_file(inbox.wheel("foo", "1.0", summary="other"), "foo", "1.0")
    with pytest.raises(
        Refused, match=r"already been used.*`indexes\.main\.policy\.reuse`"
    ) as caught:
        inbox.send(other)
    assert (caught.value.status, inbox.contents()) == (400, [])
    inbox.send(first)
    assert inbox.contents() == [WHEEL]

    decisions.set_status(inbox.spec, inbox.index, "foo", "archived", None)
    inbox.send(first)
    with pytest.raises(Refused, match="project foo is archived"):
        inbox.send(of_file(inbox.wheel("foo", "2.0"), "foo", "2.0"))


def test_signature_is_served_beside_file(inbox: Inbox) -> None:
    """A signature in the form is kept beside the file and on its page."""
    signature = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
    inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0", gpg_signature=signature))
    assert inbox.served(f"{WHEEL}.asc").decode() == signature
    [file] = (inbox.page("foo") or {})["files"]
    assert file["gpg-sig"] is True
    inbox.once()
    assert inbox.refused() == {}


def attestation(filename: str, sha256: str) -> dict[str, object]:
    """Return an attestation (PEP 740) of the right form."""
    subject = {"name": filename, "digest": {"sha256": sha256}}
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v1", "subject": [subject]})
    return {
        "version": 1,
        "verification_material": {"certificate": "TUlJ", "transparency_entries": [{}]},
        "envelope": {"statement": base64_of(statement), "signature": "TUVV"},
    }


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_provenance_is_served_beside_file(inbox: Inbox) -> None:
    """Attestations are served as a provenance object, which both forms of a page name."""
    path = inbox.wheel("foo", "1.0")
    attestations = [attestation(WHEEL, hashlib.sha256(path.read_bytes()).hexdigest())]
    inbox.send(of_file(path, "foo", "1.0", attestations=json.dumps(attestations)))

    provenance = json.loads(inbox.served(f"{WHEEL}.provenance"))
    assert provenance["attestation_bundles"][0]["attestations"] == attestations
    [file] = (inbox.page("foo") or {})["files"]
    assert file["provenance"] == f"../../packages/{WHEEL}.provenance"
    html = inbox.page_path("foo", "index.html").read_text()
    assert f'data-provenance="../../packages/{WHEEL}.provenance"' in html
    inbox.once(again=True)
    assert inbox.accepted() == {WHEEL, f"{WHEEL}.provenance"}


OTHER = attestation("bar-1.0.zip", "0" * 64)
MALFORMED = ["{}", "[]", "[1]", "x", "[" * 100_000, json.dumps([OTHER] * 40), json.dumps([OTHER])]


@pytest.mark.parametrize("attestations", MALFORMED)
def test_malformed_attestations_are_refused(inbox: Inbox, attestations: str) -> None:
    """What is no list of attestations about the file is refused."""
    with pytest.raises(Refused, match=r"^Malformed attestations \(PEP 740\): "):
        inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0", attestations=attestations))
    assert inbox.contents() == []


# Fields that differ from those of a right form, or the name of the file, and the reason.
WRONG = [
    ({"protocol_version": "2"}, "Unknown protocol version '2'; expected 1"),
    ({"name": ""}, "The form has no field name"),
    ({"name": "../foo"}, "'../foo' is not the name of a project (PEP 508)"),
    ({"version": ""}, "The form has no field version"),
    ({"filetype": "bdist_rpm"}, "Unknown filetype 'bdist_rpm'; expected one of sdist, "),
    ({"filetype": "sdist"}, f"The form says sdist, the file name {WHEEL} says bdist_wheel"),
    ({"sha256_digest": ""}, "Include at least one message digest"),
    ({"sha256_digest": "0" * 64}, "The digest supplied does not match a digest calculated from"),
    ({"md5_digest": "0" * 32}, "The digest supplied does not match a digest calculated from"),
    ({"blake2_256_digest": "0" * 64}, "The digest supplied does not match a digest calculated"),
    ({"name": "bar"}, f"The file name {WHEEL} is of foo 1.0, the form says bar 1.0"),
    ({"version": "1.1"}, f"The file name {WHEEL} is of foo 1.0, the form says foo 1.1"),
    ({"requires_python": ">=3.9"}, "metadata say Requires-Python >=3.6, the form says >=3.9"),
    ({"gpg_signature": "MII"}, "The signature does not begin with '-----BEGIN PGP SIGNATURE-----'"),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG)
def test_forms_that_disagree_are_refused(inbox: Inbox, fields: dict[str, str], reason: str) -> None:
    """A form that does not agree with its file is refused, and nothing of it stays."""
    path = inbox.wheel("foo", "1.0", requires_python=">=3.6")
    with pytest.raises(Refused, match=r"^.+$") as raised:
        inbox.send(of_file(path, "foo", "1.0", **fields))
    assert raised.value.status == 400
    assert reason in str(raised.value)
    assert inbox.contents() == []
    assert inbox.journal() == []


# Names of files that are no package file's, or not safe to serve.
NAMES = [
    *("../foo-1.0.zip", "foo-1.0/x.zip", "foo-1.0.html", "foo-1.0-py2.7-x.html", ".foo-1.0.zip"),
    *(".zip", "-.zip", "foo-1.0.zip.", "foo 1.0.zip", "föö-1.0.zip", "foo-1.0.zip%00.html"),
    *("foo.zip", "foo-1.0.whl", f"foo-{'1' * 300}.zip", "foo-1.0.pth"),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_package_files_are_refused(inbox: Inbox, name: str) -> None:
    """A file name that no installer can read, or that is a path, is refused."""
    with pytest.raises(Refused, match=r"^(Invalid file name|The file name|The form is malformed)"):
        inbox.send(encode(fields_of("foo", "1.0", b"x", "sdist"), name, b"x"))
    assert inbox.contents() == []


def test_damaged_archive_is_refused(inbox: Inbox) -> None:
    """A file that intake rejects is refused with the same reason."""
    body = encode(fields_of("foo", "1.0", b"PK nothing", "bdist_wheel"), WHEEL, b"PK nothing")
    with pytest.raises(Refused, match=rf"^{WHEEL}: truncated or damaged archive: "):
        inbox.send(body)
    assert inbox.contents() == []


def test_file_of_other_project_is_refused(inbox: Inbox) -> None:
    """A wheel whose metadata are those of another project is refused."""
    shutil.move(inbox.wheel("bar", "1.0"), inbox.outside / WHEEL)
    with pytest.raises(Refused, match=r"directory bar-1\.0\.dist-info is not that of foo 1\.0"):
        inbox.send(of_file(inbox.outside / WHEEL, "foo", "1.0"))


def test_empty_file_is_refused(inbox: Inbox) -> None:
    """A form without a file, or with an empty one, is refused."""
    for name in (None, WHEEL):
        with pytest.raises(Refused, match=r"^Upload payload does not have a file"):
            inbox.send(encode(fields_of("foo", "1.0", b"", "bdist_wheel"), name))


def test_larger_file_than_limit_is_refused(inbox: Inbox) -> None:
    """A file that is larger than `nginx.max_upload` is refused at its first byte too many."""
    nginx = inbox.spec.nginx.model_copy(update={"max_upload": 100})
    inbox.uploads.spec = inbox.spec.model_copy(update={"nginx": nginx})
    upload = inbox.uploads.begin(inbox.index, "multipart/form-data; boundary=0f7e1b")
    upload.feed(encode({}, WHEEL, bytes(99))[:-20])
    states = [upload.has_failed]
    upload.feed(bytes(200))
    assert [*states, upload.has_failed] == [False, True]
    with pytest.raises(Refused, match=r"^File too large: the limit is 100 bytes") as raised:
        upload.form()
    upload.close()
    assert raised.value.status == 413
    assert inbox.contents() == []


def test_index_that_is_not_scanned_refuses(lab: Lab) -> None:
    """An index that may have files which are not known yet accepts no uploads."""
    catalog = open_catalog(lab.spec, create=True)
    with pytest.raises(Unscanned, match="is being scanned for the first time; retry"):
        Uploads(lab.spec, catalog).begin(lab.index, "multipart/form-data; boundary=x")


def test_full_disk_is_reported(small_disk: Path) -> None:
    """An upload that the disk has no space for is refused with 507, and leaves nothing."""
    inbox = Inbox(small_disk)
    with pytest.raises(Refused, match="has no space for this file") as raised:
        inbox.send(
            encode(fields_of("foo", "1.0", b"", "sdist"), "foo-1.0.zip", os.urandom(5 << 20))
        )
    assert raised.value.status == 507
    assert inbox.contents() == []


ERRORS = [
    (OSError(errno.ENOSPC, "No space left on device", "/srv/foo"), True),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
    (OSError(errno.EACCES, "Permission denied", "/srv/fullstack-1.0.zip"), False),
    (CatalogError("catalog: database or disk is full; free some disk space"), True),
    (Unscanned("index main: not scanned in full yet"), False),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_errors_of_full_disks_are_told_from_others(error: Exception, expected: bool) -> None:
    """A name or a text with the letters "full" is no full disk."""
    assert is_full(error) is expected


def test_missing_disk_is_not_written_to(inbox: Inbox) -> None:
    """An upload to a packages directory that is not there creates no other one."""
    body = of_file(inbox.wheel("foo", "1.0"), "foo", "1.0")
    inbox.packages.rmdir()
    with pytest.raises(DirectoryMissing, match="not found; mount or create it"):
        inbox.send(body)
    assert not inbox.packages.exists()


def test_symbolic_link_as_spool_is_not_followed(inbox: Inbox, tmp_path: Path) -> None:
    """A symbolic link where uploads are written is not followed."""
    (inbox.packages / ".pyindex-uploads").symlink_to(tmp_path)
    with pytest.raises(Refused, match="cannot write to its packages directory"):
        inbox.send(of_file(inbox.wheel("foo", "1.0"), "foo", "1.0"))
    assert not list(tmp_path.glob("*/.lock"))


def test_examiner_is_kept_between_uploads(inbox: Inbox) -> None:
    """Two uploads are examined by one process."""
    pids = set()
    for version in ("1.0", "2.0"):
        inbox.send(of_file(inbox.wheel("foo", version), "foo", version))
        pids |= {process.pid for process in processes._idle}
    assert len(pids) == 1
