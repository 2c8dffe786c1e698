"""What must hold of an index whatever happened to it: no reader sees half of anything, and
packages directory, catalog, pages and served bytes agree."""

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
    """What a client could fetch now is whole: each page in each form, each metadata file."""
    simple = lab.spec.www / "simple"
    for page in simple.glob("*/index.json"):
        with contextlib.suppress(FileNotFoundError):  # taken down while we look
            body = json.loads(page.read_bytes())
            json.loads(gzip.decompress(page.with_name("index.json.gz").read_bytes()))
            assert page.with_name("index.html").read_text().rstrip().endswith("</html>")
            for file in body["files"]:
                if "core-metadata" in file:
                    found = digest(lab.metadata(path_of(file)))
                    # Who overwrites a file in place breaks it for whoever has the old page; its
                    # bytes are compared last, as it may be overwritten while we look.
                    if digest(lab.served(path_of(file))) == file["hashes"]["sha256"]:
                        assert found == file["core-metadata"]["sha256"]


def path_of(file: dict[str, Any]) -> str:
    """The path in the packages directory of a file of a JSON page."""
    return unquote(file["url"].removeprefix("../../packages/"))


def agree(lab: Lab) -> None:
    """Packages directory, catalog and pages hold the same files with the same digests.

    There may be directories in it, signatures, and files whose name another file has already;
    nothing else may be refused.
    """
    with lab.catalog.read() as reader:
        files = reader.offered(lab.index, limit=10_000)
        rejections = reader.rejections(lab.index)
        assert reader.mark("pages") == reader.mark("lists") == reader.serial()
    names = {file.filename for file in files}
    for refusal in rejections:
        assert Path(refusal.path).name in names, refusal
    folder = package_files(lab)
    for refusal in rejections:
        folder.pop(refusal.path, None)
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
    assert folder == catalog == pages
    assert served_files(lab) == set(folder), "served"
    assert sorted(lab.projects()) == sorted({Path(path).name.split("-")[0] for path in folder})
    serials = [change.serial for change in lab.journal()]
    assert serials == sorted(set(serials))


def unbroken(lab: Lab) -> None:
    """No serial of the journal was left out."""
    serials = [change.serial for change in lab.journal()]
    assert serials == list(range(serials[0], serials[0] + len(serials)))


def package_files(lab: Lab) -> dict[str, str]:
    """Each package file in the packages directory with its digest, by path."""
    return {
        path.relative_to(lab.packages).as_posix(): digest(path.read_bytes())
        for path in lab.packages.rglob("*")
        if path.is_file() and path.suffix != SIGNATURE
    }


def served_files(lab: Lab) -> set[str]:
    """The paths of the package files that can be fetched."""
    return {path for path in lab.accepted() if not path.endswith(SIGNATURE)}


def _forms_agree(page: Path) -> dict[str, Any]:
    """The JSON page, which says what the HTML page and both gzipped ones say."""
    plain = {name: page.with_name(name).read_bytes() for name in ("index.html", "index.json")}
    for name, content in plain.items():
        assert gzip.decompress(page.with_name(f"{name}.gz").read_bytes()) == content, name
    body: dict[str, Any] = json.loads(plain["index.json"])
    linked = re.findall(r"#sha256=([0-9a-f]{64})", plain["index.html"].decode())
    assert sorted(linked) == sorted(file["hashes"]["sha256"] for file in body["files"])
    assert len({page.with_name(name).stat().st_mtime_ns for name in plain}) == 1
    return body
