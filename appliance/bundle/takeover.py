"""Take-over: the files of another index server become part of an index, with their upload times,
yanks and owners.

The server's own directory is read: the tree of a bandersnatch mirror, the export of a devpi server,
the packages directory of pypiserver. Nothing in it is changed.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.bundle import companions
from appliance.bundle.folder import Folder, copy
from appliance.bundle.manifest import BundledFile, make, problem_of
from appliance.bundle.placement import Placement, bring_up_to_date
from appliance.bundle.source import Source
from appliance.catalog.writer import Writer
from appliance.errors import PyindexError
from appliance.incoming.directory import PackagesDirectory
from appliance.incoming.protocol import upload_time
from appliance.index.names import PROVENANCE, SIGNATURE, distribution
from appliance.mirror.taking import one_line
from appliance.operations import arrival
from appliance.spec import Spec
from appliance.upstream import pages, urls
from appliance.upstream.model import RemoteProject

KINDS = ("bandersnatch", "devpi", "pypiserver")
_PAGES = {
    "index.v1_json": "application/vnd.pypi.simple.v1+json",
    "index.html": "text/html",
}
_FOLDER = "packages"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of another server.

    Attributes:
        source: Its path below the server's directory.
        path: Its path in the packages directory.
        time: Its upload time in microseconds since the epoch; ``None``: its mtime.
        yanked: ``None``, or the reason of its yank.
        owner: The account that uploaded it.
        sha256: Its digest, if the server knows it.
    """

    source: str
    path: str
    time: int | None = None
    yanked: str | None = None
    owner: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The paths of new files, the number of all, and messages about files that were left out."""

    new: list[str]
    files: int
    messages: list[str]


def take_over(
    spec: Spec,
    index: str,
    kind: str,
    path: Path,
    origin: str | None = None,
    report: Callable[[str], None] = lambda step: None,
) -> TakenOver:
    """Take the files of the server of a ``kind`` at ``path`` into an index, all of them or none.
    ``origin`` is the index of devpi, as USER/INDEX.

    Files that the index has with the same content stay as they are; to repeat it adds what is new.
    Raises :class:`PyindexError`, or ``OSError``, with nothing changed: for a directory that is none
    of that server, and for files that the index has with other content or would reject.
    """
    report("reading the files")
    source: Source
    listed: Sequence[Listed] = ()
    messages: list[str] = []
    if kind == "pypiserver":
        source = Folder(path)
    else:
        found = _bandersnatch(path) if kind == "bandersnatch" else _devpi(path, origin)
        listed = list(_unique(found, path, messages))
        source = _Server(kind, path, listed)

    bring_up_to_date(spec, index)
    with arrival.locked(spec):
        placement = Placement(spec, index, source, report)
        changes = placement.compare([])
        owners = {each.path: each.owner for each in listed if each.owner}

        def record(change: Writer) -> None:
            for file in changes.new:
                if owner := owners.get(file.path):
                    change.take_ownership(index, file.project, owner)

        if changes.new:
            placement.add(changes, record=record)
        elif changes:
            placement.decide(changes)
        placement.publish()
    return TakenOver([file.path for file in changes.new], len(source.manifest.files), messages)


class _Server:
    """Listed files of a server's directory as the source of a load."""

    def __init__(self, kind: str, root: Path, files: Sequence[Listed]) -> None:
        """Raises :class:`PyindexError` if a file cannot be loaded, or if there are none."""
        self.name = str(root)
        self.key: str | None = None
        self._directory = PackagesDirectory(root)
        self._sources = {each.path: each.source for each in files}
        if not files:
            raise PyindexError(f"{root}: no package files of {kind} in it; check the path")
        bundled = sorted(map(self._bundled, files), key=lambda file: file.path.encode())
        self.manifest = make(kind, 0, 0, 1, bundled, {})

    def _bundled(self, listed: Listed) -> BundledFile:
        entry = self._directory.entry(listed.source)
        if entry is None:
            raise PyindexError(f"{self.name}/{listed.source}: disappeared; run the command again")
        file = BundledFile(
            path=listed.path,
            sha256=self._copy(listed.source, None),
            size=entry.size,
            upload_time=upload_time(entry) if listed.time is None else listed.time,
            volume=1,
            yanked=listed.yanked,
            signature=self._companion(listed.source, SIGNATURE),
            attested=self._companion(listed.source, PROVENANCE),
        )
        self._check(listed, file)
        return file

    def _check(self, listed: Listed, file: BundledFile) -> None:
        """Raise :class:`PyindexError` for a damaged file, and one that cannot be loaded."""
        if listed.sha256 not in (None, file.sha256):
            raise PyindexError(
                f"{self.name}/{listed.source}: damaged: not the content with sha256 {listed.sha256}"
                " that the server has; restore or remove it"
            )
        if problem := problem_of(file):
            raise PyindexError(f"{self.name}/{listed.source}: {problem}; remove it")

    def copy(self, file: BundledFile, descriptor: int) -> str:
        """Write the content of a file to a descriptor; return its SHA-256."""
        return self._copy(self._sources[file.path], descriptor)

    def _copy(self, path: str, descriptor: int | None) -> str:
        try:
            return copy(self._directory, path, descriptor)
        except OSError as error:
            raise PyindexError(f"{self.name}/{path}: {error.strerror}") from None

    def _companion(self, path: str, ending: str) -> str | None:
        content = companions.read(self._directory, path, ending)
        return None if content is None else base64.b64encode(content).decode()


def _unique(found: Iterable[Listed], root: Path, messages: list[str]) -> Iterator[Listed]:
    """Yield files that are there, the first of each name; others are named in ``messages``."""
    directory, seen = PackagesDirectory(root), set[str]()
    for each in found:
        name = each.path.rpartition("/")[2]
        if distribution(name) is None or name in seen:
            continue
        if not {"", ".", ".."}.isdisjoint(each.source.split("/")):
            raise PyindexError(f"{root}: {each.source}: path outside of it; nothing was taken")
        if directory.entry(each.source) is None:
            messages.append(f"{each.source}: listed, but not there; left out")
            continue
        seen.add(name)
        yield each


# --- bandersnatch --------------------------------------------------------------------------------


def _bandersnatch(root: Path) -> Iterator[Listed]:
    """Yield the files on the pages of a mirror, at the paths that their URLs have."""
    web = root / "web" if (root / "web" / "simple").is_dir() else root
    simple = web / "simple"
    if not simple.is_dir():
        raise PyindexError(f"{root}: no web/simple in it; pass the directory of the mirror")
    directories = {page.parent for name in _PAGES for page in simple.rglob(name)} - {simple}
    for directory in sorted(directories):
        reasons = _reasons(web / "json" / directory.name)
        for file in _project(directory, simple).files:
            if path := _below_packages(file.url):
                source = str(web.relative_to(root) / _FOLDER / path)
                yanked = file.yanked
                if yanked is not None:
                    yanked = one_line(yanked or reasons.get(file.filename, ""))
                yield Listed(source, path, file.upload_time, yanked, sha256=file.sha256)


def _project(directory: Path, simple: Path) -> RemoteProject:
    """Return the project whose page is in a directory."""
    page = next(directory / name for name in _PAGES if (directory / name).exists())
    return pages.parse(
        directory.name,
        page.read_bytes(),
        _PAGES[page.name],
        f"{directory.absolute().as_uri()}/",
        simple.absolute().as_uri(),
    )


def _reasons(metadata: Path) -> dict[str, str]:
    """Return the reasons of yanks by file name, which only the JSON of PyPI's form has; none if the
    mirror does not keep it (``json = true``)."""
    try:
        releases = json.loads(metadata.read_bytes())["releases"]
        return {
            str(file["filename"]): str(file["yanked_reason"])
            for files in releases.values()
            for file in files
            if file.get("yanked_reason")
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _below_packages(url: str) -> str | None:
    """Return the path of a file below ``packages``, wherever its page says that it is."""
    path = urls.path(url)
    parts = path.parts if path is not None else ()
    if path is None or _FOLDER not in parts:
        return None
    last = max(number for number, part in enumerate(parts) if part == _FOLDER)
    return "/".join(parts[last + 1 :]) or None


# --- devpi ---------------------------------------------------------------------------------------


def _devpi(root: Path, origin: str | None) -> Iterable[Listed]:
    """Return the release files of one index of an export (``devpi-export``)."""
    indexes = _exported(root)
    names = [name for name, files in indexes.items() if files]
    name = origin or (names[0] if len(names) == 1 else None)
    if name not in indexes:
        raise PyindexError(f"{root}: pass one of its indexes with --from: {', '.join(names)}")
    return indexes[name]


def _exported(root: Path) -> dict[str, list[Listed]]:
    """Return the release files of each index of an export."""
    try:
        indexes: dict[str, Any] = json.loads((root / "dataindex.json").read_bytes())["indexes"]
        return {
            name: [
                _listed(file)
                for file in index.get("files", ())
                if file.get("type") == "releasefile"
            ]
            for name, index in indexes.items()
        }
    except FileNotFoundError:
        raise PyindexError(
            f"{root}: no dataindex.json in it; write an export with `devpi-export`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PyindexError(f"{root}/dataindex.json: not an export of devpi") from None


def _listed(file: dict[str, Any]) -> Listed:
    uploads = [each for each in file.get("log", []) if each.get("what") == "upload"]
    first = uploads[0] if uploads else {}
    path = str(file["relpath"])
    return Listed(
        source=path,
        path=path.rpartition("/")[2],
        time=_time(first.get("when")),
        owner=first.get("who"),
        sha256=file.get("entrymapping", {}).get("hashes", {}).get("sha256"),
    )


def _time(when: object) -> int | None:
    """Return a time of devpi, a list from the year to the second in UTC, in microseconds."""
    if not isinstance(when, list) or len(when) < 6:
        return None
    year, month, day, hour, minute, second = when[:6]
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)
