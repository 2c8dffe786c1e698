"""Rules of a policy: what each refuses, and the words that it is refused with."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from appliance.catalog.database import Catalog
from appliance.index import metadata
from appliance.index.model import File
from appliance.operations import decisions
from appliance.policy.decision import PolicyError, check
from appliance.policy.rules import Candidate, Known, refusal
from appliance.spec.policy import Policy
from tests.conftest import Lab

DAY = 24 * 3600 * 1_000_000
HEAD = b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"
WHEEL, SDIST = "foo-1.0-py3-none-any.whl", "foo-1.0.tar.gz"


def file(name: str = WHEEL, **values: object) -> File:
    facts: dict[str, object] = {
        "path": name,
        "filename": name,
        "project": "foo",
        "name": "foo",
        "version": "1.0",
        "kind": "sdist" if name.endswith(("gz", "zip")) else "bdist_wheel",
        "python_version": "py3",
        "size": 1000,
        "mtime_ns": 0,
        "inode": 1,
        "sha256": "a" * 64,
        "md5": "b" * 32,
        "blake2b_256": "c" * 64,
        "upload_time": 0,
    }
    return File(**(facts | values))  # type: ignore[arg-type]


def asked(
    policy: Policy,
    new: File | None = None,
    raw: bytes | None = HEAD,
    *,
    used: str | None = None,
    status: str = "active",
    release: Sequence[File] = (),
    now: int = 0,
) -> str | None:
    parsed = None if raw is None else metadata.parse(raw)
    known = Known(used, status, release, now)
    refused = refusal(policy, Candidate(new or file(), parsed), known)
    return f"{refused.rule}: {refused.why}" if refused else None


LOCAL = file(WHEEL.replace("1.0", "1.0+lab"), version="1.0+lab")
USED = "reuse: This filename has already been used, use a different version: "
# (policy, what is asked, answer)
TABLE = {
    "nothing": ({}, {}, None),
    "archived": (
        {},
        {"status": "archived"},
        "status: project foo is archived, and takes no files",
    ),
    "quarantined": (
        {},
        {"status": "quarantined"},
        "status: project foo is quarantined, and takes no files",
    ),
    "deprecated": ({}, {"status": "deprecated"}, None),
    "other content": (
        {},
        {"used": "d" * 64},
        f"{USED}{WHEEL} had other content (sha256 {'d' * 64})",
    ),
    "the same content": ({}, {"used": "a" * 64}, None),
    "other content, allowed": ({"reuse": "accept"}, {"used": "d" * 64}, None),
    "an accepted type": ({"types": ("wheel",)}, {}, None),
    "another type": (
        {"types": ("wheel", "egg")},
        {"new": file(SDIST)},
        "types: type sdist is not accepted, only wheel, egg",
    ),
    "the largest": ({"max_size": 1000}, {}, None),
    "too large": ({"max_size": 999}, {}, "max_size: 1,000 bytes, at most 999 are accepted"),
    "metadata": (
        {"required": ("license", "summary", "requires-python")},
        {"raw": HEAD + b"License-Expression: MIT\nSummary: Foo\nRequires-Python: >=3\n"},
        None,
    ),
    "missing metadata": (
        {"required": ("license", "summary", "author")},
        {"raw": HEAD + b"License: UNKNOWN\nAuthor-email: a@example.org\n"},
        "required: metadata without license, summary; add it to the project",
    ),
    "no metadata at all": (
        {"required": ("summary",)},
        {"raw": None},
        "required: metadata without summary; add it to the project",
    ),
    "old forms of metadata": (
        {"required": ("license", "url", "description", "classifiers", "keywords", "maintainer")},
        {
            "raw": HEAD + b"Classifier: License :: OSI Approved\nHome-page: https://example.org\n"
            b"Keywords: a,b\nMaintainer: A\n\ntext"
        },
        None,
    ),
    "missing texts": (
        {"required": ("url", "description", "classifiers", "keywords", "maintainer")},
        {},
        "required: metadata without url, description, classifiers, keywords, maintainer; add it to"
        " the project",
    ),
    "a local version": ({}, {"new": LOCAL}, None),
    "a local version, refused": (
        {"local_versions": "refuse"},
        {"new": LOCAL},
        "local_versions: version 1.0+lab is a local one (PEP 440), which is not accepted",
    ),
    "a private classifier": (
        {},
        {"raw": HEAD + b"Classifier: Private :: Do Not Upload\n"},
        None,
    ),
    "a private classifier, refused": (
        {"private_classifiers": "refuse"},
        {"raw": HEAD + b"Classifier: Topic :: X\nClassifier: Private :: Do Not Upload\n"},
        "private_classifiers: classifier 'Private :: Do Not Upload': such files are not accepted",
    ),
    "no private classifier": ({"private_classifiers": "refuse"}, {}, None),
    "the first file": ({"closed_after": timedelta(days=14)}, {"now": 50 * DAY}, None),
    "an open release": (
        {"closed_after": timedelta(days=14)},
        {"release": [file(SDIST, upload_time=DAY)], "now": 15 * DAY - 1},
        None,
    ),
    "a closed release": (
        {"closed_after": timedelta(days=14)},
        {
            "release": [file(SDIST, upload_time=DAY), file("x", upload_time=9 * DAY)],
            "now": 15 * DAY,
        },
        "closed_after: release 1.0 is closed since 1970-01-16; make another release",
    ),
    "a file of a closed release that returns": (
        {"closed_after": timedelta(days=14)},
        {"release": [file(SDIST)], "now": 50 * DAY, "used": "a" * 64},
        None,
    ),
    "a second sdist": ({}, {"new": file("foo-1.0.zip"), "release": [file(SDIST)]}, None),
    "a second sdist, refused": (
        {"sdists": "one"},
        {"new": file("foo-1.0.zip"), "release": [file(WHEEL), file(SDIST)]},
        "sdists: release 1.0 has an sdist already: foo-1.0.tar.gz",
    ),
    "the sdist again": ({"sdists": "one"}, {"new": file(SDIST), "release": [file(SDIST)]}, None),
    "a wheel beside an sdist": ({"sdists": "one"}, {"release": [file(SDIST)]}, None),
}


@pytest.mark.parametrize("case", TABLE)
def test_rule_refuses(case: str) -> None:
    """A rule refuses what it is about, names what is wrong, and lets all else pass."""
    policy, question, answer = TABLE[case]
    assert asked(Policy(**policy), **question) == answer  # type: ignore[arg-type]


def test_refusal_names_the_key(foo: Lab) -> None:
    """The catalog's knowledge reaches the rules; the error names the key of the spec."""
    with foo.catalog.read() as reader:
        known = reader.files_after(foo.index)[0]
    decisions.remove(foo.spec, foo.index, known.filename)
    other = file(known.filename, sha256="d" * 64)
    with Catalog(foo.spec.catalog).read() as reader:
        check(reader, foo.spec, foo.index, known, HEAD)
        with pytest.raises(PolicyError) as caught:
            check(reader, foo.spec, foo.index, other, HEAD)
    assert caught.value.rule == "reuse"
    assert str(caught.value) == (
        f"This filename has already been used, use a different version: {known.filename} had other"
        f" content (sha256 {known.sha256}) (`indexes.main.policy.reuse` in the spec)"
    )


def test_archived_project_takes_no_files(foo: Lab) -> None:
    """The error of a project's status names the command that sets it."""
    decisions.set_status(foo.spec, foo.index, "foo", "archived", None)
    with foo.catalog.read() as reader, pytest.raises(PolicyError) as caught:
        check(reader, foo.spec, foo.index, file("foo-3.0.tar.gz"), HEAD)
    assert str(caught.value).endswith("takes no files (`pyindex status-set`)")
