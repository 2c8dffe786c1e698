"""What a form says about its file, and whether the file agrees. Pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from appliance.errors import Rejected
from appliance.incoming.agreement import is_release_of
from appliance.index import names
from appliance.index.model import File
from appliance.index.names import Distribution
from appliance.uploads.form import Form
from appliance.uploads.refused import Refused

_DIGESTS = {"sha256_digest": "sha256", "blake2_256_digest": "blake2b_256", "md5_digest": "md5"}
# Kinds that a file name may state, by filetype: names of sdists and of dumb archives overlap.
_KINDS = {
    "sdist": ("sdist", "bdist_dumb"),
    "bdist_dumb": ("sdist", "bdist_dumb"),
    **{kind: (kind,) for kind in ("bdist_wheel", "bdist_egg", "bdist_wininst", "bdist_msi")},
}


@dataclass(frozen=True, slots=True)
class Release:
    """A release that a form names."""

    name: str
    version: str

    @property
    def project(self) -> str:
        """The normalized name of the project."""
        return names.normalize(self.name)


def protocol(form: Form) -> None:
    """Raise :class:`Refused` for another version of the protocol than 1."""
    version = form.get("protocol_version") or form.get("protcol_version")
    if version not in (None, "1"):
        raise Refused(400, f"Unknown protocol version {version!r}; expected 1")


def release(form: Form) -> Release:
    """Return the release that the form names. Raises :class:`Refused` if it names none."""
    name, version = form.get("name"), form.get("version")
    if name is None or version is None:
        missing = "name" if name is None else "version"
        raise Refused(400, f"The form has no field {missing}")
    if not names.is_name(name):
        raise Refused(400, f"{name!r} is not the name of a project (PEP 508)")
    return Release(name, version)


def file_fields(form: Form) -> None:
    """Raise :class:`Refused` unless the form has what a file needs: its kind and a digest."""
    kind = form.get("filetype")
    if kind not in _KINDS:
        raise Refused(400, f"Unknown filetype {kind!r}; expected one of {', '.join(_KINDS)}")
    if not any(form.get(name) for name in _DIGESTS):
        raise Refused(400, f"Include at least one message digest: {', '.join(_DIGESTS)}")


def filename(form: Form, stated: Release) -> Distribution:
    """Return the meaning of the name of the form's file. Raises :class:`Refused` for a name that is
    no package file's, or of another release than ``stated``."""
    if form.filename is None:
        raise Refused(400, "Upload payload does not have a file")
    try:
        named = names.parse(form.filename, stated.name)
    except Rejected as error:
        raise Refused(400, f"Invalid file name {form.filename!r}: {error}") from None

    if not is_release_of(named, stated.name, stated.version):
        raise Refused(
            400,
            f"The file name {named.filename} is of {named.name} {named.version}, the form says"
            f" {stated.name} {stated.version}",
        )
    kind = form.get("filetype")
    if named.kind not in _KINDS.get(kind or "", ()):
        raise Refused(
            400, f"The form says {kind}, the file name {named.filename} says {named.kind}"
        )
    return named


def sha256(form: Form, digest: str) -> None:
    """Raise :class:`Refused` if the form states another SHA-256 of its file than ``digest``."""
    _compare("sha256_digest", form, digest)


def content(form: Form, stated: Release, file: File) -> None:
    """Raise :class:`Refused` if the examined ``file`` has other digests than the form states, or
    metadata of another release."""
    for field, attribute in _DIGESTS.items():
        _compare(field, form, getattr(file, attribute))
    for problem in _differences(form, stated, file):
        raise Refused(400, f"{file.filename}: {problem}")


def _compare(field: str, form: Form, digest: str) -> None:
    stated = form.get(field)
    if stated is not None and stated.lower() != digest:
        raise Refused(
            400,
            "The digest supplied does not match a digest calculated from the uploaded file"
            f" ({field}: {digest})",
        )


def _differences(form: Form, stated: Release, file: File) -> Iterator[str]:
    """Yield how the metadata in the file differ from the form, in fields that installers use."""
    if names.normalize(stated.name) != file.project:
        yield f"its metadata say {file.name}, the form says {stated.name}"
    ours, theirs = file.requires_python, form.get("requires_python")
    if ours and theirs and _specifier(ours) != _specifier(theirs):
        yield f"its metadata say Requires-Python {ours}, the form says {theirs}"


def _specifier(text: str) -> SpecifierSet | None:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None
