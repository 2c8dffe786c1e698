"""Consistency of an index: no client sees partial data, and all copies of the data agree."""

import contextlib
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from appliance.index.names import SIGNATURE
from tests.conftest import Lab


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def look(lab: Lab) -> None:
    """Check that each form of each page and each metadata file is complete at the moment."""
    simple = lab.spec.www / "simple"
    for page in simple.glob("*/index.json"):
        with contextlib.suppress(FileNotFoundError):  # unpublished during the check
            body = json.loads(page.read_bytes())
            json.loads(gzip.decompress(page.with_name("index.json.gz").read_bytes()))
            assert page.with_name("index.html").read_text().rstrip().endswith("</html>")
            for file in body["files"]:
                if "core-metadata" in file:
                    metadata_digest = digest(lab.metadata(path_of(file)))
                    # A file that is overwritten in place differs from its old page; its bytes
                    # are compared last, because it may be overwritten during the check.
                    if digest(lab.served(path_of(file))) == file["hashes"]["sha256"]:
                        assert metadata_digest == file["core-metadata"]["sha256"]


def path_of(file: dict[str, Any]) -> str:
    """Return the path in the packages directory of a file of a JSON page."""
    return unquote(file["url"].removeprefix("../../packages/"))


def agree(lab: Lab) -> None:
    """Check that packages directory, catalog and pages have the same files with the same digests.

    Directories, signatures and duplicates are allowed; nothing else may be rejected.
    """
    with lab.catalog.read() as reader:
        files = reader.offered(lab.index, limit=10_000)
        rejections = reader.rejections(lab.index)
        assert reader.mark("pages") == reader.mark("lists") == reader.serial()
    names = {file.filename for file in files}
    for refusal in rejections:
        assert Path(refusal.path).name in names, refusal
    package_digests = package_files(lab)
    for refusal in rejections:
        package_digests.pop(refusal.path, None)
    catalog = {file.path: file.sha256 for file in files}
    yanked = {file.path: file.yanked is not None for file in files}
    pages = {}
    for page in (lab.spec.www / "simple").glob("*/index.json"):
        for file in _forms_agree(page)["files"]:
            path = path_of(file)
            pages[path] = file["hashes"]["sha256"]
            assert digest(lab.served(path)) == file["hashes"]["sha256"]
            assert (file.get("yanked", False) is not False) == yanked.get(path), path
            if "core-metadata" in file:
                assert digest(lab.metadata(path)) == file["core-metadata"]["sha256"]
    assert package_digests == catalog == pages
    assert served_files(lab) == set(package_digests), "served"
    assert sorted(lab.projects()) == sorted(
        {Path(path).name.split("-")[0] for path in package_digests}
    )
    serials = [change.serial for change in lab.journal()]
    assert serials == sorted(set(serials))


def unbroken(lab: Lab) -> None:
    """Check that the journal skips no serial."""
    serials = [change.serial for change in lab.journal()]
    assert serials == list(range(serials[0], serials[0] + len(serials)))


def package_files(lab: Lab) -> dict[str, str]:
    """Return the digest of each package file in the packages directory, by path."""
    return {
        path.relative_to(lab.packages).as_posix(): digest(path.read_bytes())
        for path in lab.packages.rglob("*")
        if path.is_file() and path.suffix != SIGNATURE
    }


def served_files(lab: Lab) -> set[str]:
    """Return the paths of the package files that a client can fetch."""
    return {path for path in lab.accepted() if not path.endswith(SIGNATURE)}


def _forms_agree(page: Path) -> dict[str, Any]:
    """Return the JSON page after a check that HTML page and gzip variants have the same content."""
    plain = {name: page.with_name(name).read_bytes() for name in ("index.html", "index.json")}
    for name, content in plain.items():
        assert gzip.decompress(page.with_name(f"{name}.gz").read_bytes()) == content, name
    body: dict[str, Any] = json.loads(plain["index.json"])
    linked = re.findall(r"#sha256=([0-9a-f]{64})", plain["index.html"].decode())
    assert sorted(linked) == sorted(file["hashes"]["sha256"] for file in body["files"])
    assert len({page.with_name(name).stat().st_mtime_ns for name in plain}) == 1
    return body
