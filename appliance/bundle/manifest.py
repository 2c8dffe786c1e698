"""The manifest of a bundle, its first member: what the bundle has, in one canonical form, so that
the same content has the same bytes and any changed byte shows."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.bundle.companions import LARGEST
from appliance.errors import PyindexError, Rejected
from appliance.incoming.entries import invalid_path, is_entered
from appliance.index import names
from appliance.spec.forms import NAME
from appliance.text import has_controls

FORMAT, VERSION = "pyindex-bundle", 1
MOST_VOLUMES = 999
LARGEST_MANIFEST = 128 * 1024 * 1024
"""Limit in bytes: for some 300,000 files."""
LATEST = 253_402_300_799_000_000
"""The latest upload time in microseconds: the end of the year 9999."""

_NOUNS = {names.SIGNATURE: "signature", names.PROVENANCE: "provenance"}
_LARGEST = (1 << 63) - 1
_LONGEST_TEXT = 10_000
_Number = Annotated[int, Field(ge=0, le=_LARGEST)]
_Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
_Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BundledFile(_Value):
    """A package file.

    Attributes:
        path: In the packages directory, with ``/``.
        size: In bytes.
        upload_time: In microseconds since the epoch.
        volume: The number of the volume that has it, or 0 if the bundle leaves it out, because the
            receiving index has it.
        yanked: ``None``, or the reason, which may be empty (PEP 592).
        origin: The URL that it was fetched from, if known.
        provenance: The URL of its provenance, if known (PEP 740).
        signature: The detached signature beside it, in base64.
        attested: The provenance beside it, in base64.
    """

    path: Annotated[str, Field(max_length=1024)]
    sha256: _Digest
    size: _Number
    upload_time: Annotated[int, Field(ge=0, le=LATEST)]
    volume: Annotated[int, Field(ge=0, le=MOST_VOLUMES)]
    yanked: _Text | None = None
    origin: _Text | None = None
    provenance: _Text | None = None
    signature: str | None = None
    attested: str | None = None

    @property
    def filename(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def project(self) -> str:
        """The normalized name of its project, by its file name."""
        return names.parse(self.filename).project

    @property
    def encoded(self) -> dict[str, str]:
        """The files beside it in base64, by their endings."""
        both = {names.SIGNATURE: self.signature, names.PROVENANCE: self.attested}
        return {ending: text for ending, text in both.items() if text is not None}

    @property
    def companions(self) -> dict[str, bytes]:
        """The files beside it, by their endings."""
        return {ending: base64.b64decode(text) for ending, text in self.encoded.items()}


class BundledStatus(_Value):
    """The status of a project (PEP 792)."""

    status: Literal["archived", "quarantined", "deprecated"]
    reason: _Text | None = None


class Manifest(_Value):
    """The content of a bundle.

    Attributes:
        id: The SHA-256 of the rest, without ``volume``.
        index: The name of the index that it was made from.
        serial: The last serial of that index: a bundle with a lower one is older.
        time: The time of that serial, in microseconds since the epoch.
        volume: The number of the volume that has this manifest, from 1 to ``volumes``.
        files: All files that the receiving index has afterwards, in the order of their paths.
        projects: Statuses by normalized name; other projects of ``files`` are active.
    """

    format: Literal["pyindex-bundle"] = "pyindex-bundle"
    version: Literal[1] = 1
    id: _Digest
    index: Annotated[str, Field(pattern=rf"\A({NAME})?\z")]
    serial: _Number
    time: _Number
    volume: Annotated[int, Field(ge=1, le=MOST_VOLUMES)]
    volumes: Annotated[int, Field(ge=1, le=MOST_VOLUMES)]
    files: tuple[BundledFile, ...]
    projects: Mapping[str, BundledStatus]

    @property
    def carried(self) -> list[BundledFile]:
        """The files that the bundle has, in their order in it."""
        return [file for file in self.files if file.volume]

    def of_volume(self, number: int) -> list[BundledFile]:
        """The files in one volume, in their order."""
        return [file for file in self.files if file.volume == number]


# --- the canonical form ---------------------------------------------------------------------------


def make(
    index: str,
    serial: int,
    time: int,
    volumes: int,
    files: Sequence[BundledFile],
    projects: Mapping[str, BundledStatus],
) -> Manifest:
    """Return the manifest of the first volume."""
    manifest = Manifest(
        id="0" * 64,
        index=index,
        serial=serial,
        time=time,
        volume=1,
        volumes=volumes,
        files=tuple(files),
        projects=dict(projects),
    )
    return manifest.model_copy(update={"id": _id(manifest.model_dump(exclude_none=True))})


def dump(manifest: Manifest) -> bytes:
    """Return the canonical form: JSON in ASCII, keys in order, one value a line."""
    return _canonical(manifest.model_dump(exclude_none=True))


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"


def _id(value: Mapping[str, Any]) -> str:
    rest = {key: each for key, each in value.items() if key not in ("id", "volume")}
    return hashlib.sha256(_canonical(rest)).hexdigest()


def parse(raw: bytes) -> Manifest:
    """Return the manifest in ``raw``; raises :class:`PyindexError` with what is wrong."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise PyindexError("manifest.json: not JSON") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise PyindexError("not a bundle of pyindex: no manifest.json of one")
    if value.get("version") != VERSION:
        text = f"format {value.get('version')!r}, this pyindex reads {VERSION}"
        raise PyindexError(f"{text}; upgrade pyindex, or make the bundle with this version")

    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise PyindexError(f"manifest.json: {_first(error)}") from None
    if dump(manifest) != raw:
        raise PyindexError("manifest.json: not in the canonical form")
    if _id(value) != manifest.id:
        raise PyindexError(f"manifest.json: does not have the digest {manifest.id}, its id")
    for problem in _problems(manifest):
        raise PyindexError(f"manifest.json: {problem}")
    return manifest


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    message = first["msg"]
    return f"{where}: {message[:1].lower()}{message[1:]}"


# --- rules ----------------------------------------------------------------------------------------


def _problems(manifest: Manifest) -> Iterator[str]:
    if manifest.volume > manifest.volumes:
        yield f"volume {manifest.volume} of {manifest.volumes}"
    before, seen, last = "", dict[str, str](), 0
    for file in manifest.files:
        if problem := problem_of(file):
            yield f"{file.path!a}: {problem}"
        if file.path.encode() <= before.encode():
            yield f"{file.path!a}: not in the order of paths, or twice"
        if other := seen.get(file.filename):
            yield f"{file.path!a}: same name as {other!a}"
        if file.volume > manifest.volumes or (file.volume and file.volume < last):
            yield f"{file.path!a}: in volume {file.volume}, after {last} of {manifest.volumes}"
        before, last = file.path, file.volume or last
        seen[file.filename] = file.path

    for name, status in manifest.projects.items():
        if not names.is_name(name) or names.normalize(name) != name:
            yield f"{name!a}: not a normalized project name"
        if has_controls(status.reason or ""):
            yield f"{name!a}: reason with control characters"


def problem_of(file: BundledFile) -> str | None:
    """Return why a file cannot be in a packages directory; ``None`` if it can."""
    if problem := _path_problem(file.path):
        return problem
    if any(has_controls(each or "") for each in (file.yanked, file.origin, file.provenance)):
        return "text with control characters"
    for ending, text in file.encoded.items():
        if len(text) > LARGEST[ending] * 4 // 3 + 4:
            return f"{_NOUNS[ending]} larger than {LARGEST[ending] // 1024} KiB"
        try:
            base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return f"{_NOUNS[ending]} not in base64"
    return None


def _path_problem(path: str) -> str | None:
    *parents, filename = path.split("/")
    if path.startswith("/") or not {"", ".", ".."}.isdisjoint(parents):
        return "path outside the packages directory"
    if reason := invalid_path(path):
        return reason
    above = ("/".join(parents[:depth]) for depth in range(1, len(parents) + 1))
    if hidden := [each for each in above if not is_entered(each)]:
        return f"in {hidden[0]!a}, which is no directory of package files"
    try:
        names.parse(filename)
    except Rejected as error:
        return str(error)
    return None
