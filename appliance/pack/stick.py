"""A medium that turns a bare host into the index: pack, playbook, ansible and spec, with a script.

All is beside the bundles, in the directory ``appliance``; the script ``install`` is next to it.
``appliance/SHA256SUMS`` lists each file, and can be signed. Nothing depends on modes, links or case
which FAT does not have.
"""

import contextlib
import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from appliance.atomic import Batch, sync, unlink
from appliance.bundle import minisign
from appliance.errors import PyindexError
from appliance.locks import try_lock
from appliance.pack import digests, playbook
from appliance.pack.build import build_pack, check_inputs
from appliance.pack.manifest import Pack, read_manifest
from appliance.pack.python import Python
from appliance.render import files as render
from appliance.render import hostspec
from appliance.spec import Spec
from appliance.upstream import NO_REPORT, Report

DIRECTORY, SCRIPT, SUMS = "appliance", "install", "SHA256SUMS"

_PARTS = ("ansible", "hosts", "settings", "spec", "wheels")  # and the pack
_HOSTS = "[pyindex]\nlocalhost ansible_connection=local\n"


@dataclass(frozen=True, slots=True)
class Stick:
    """A medium that was written: its script, its pack, and the number and bytes of its files."""

    script: Path
    pack: Pack
    files: int
    bytes: int


def check_stick(
    directory: Path,
    spec: Spec,
    python: Python,
    packages: Path | None,
    key: minisign.SecretKey | None,
) -> None:
    """Raises PyindexError if ``directory`` has other files at the paths that
    :func:`write_stick` uses, if the host of the spec could not be set up from it, or for arguments
    of :func:`build_pack`."""
    render(spec)
    check_inputs(spec, python, packages)
    keys = [minisign.read_public(text) for text in spec.bundles.keys]
    if keys and (key is None or key.public not in keys):
        raise PyindexError(
            "bundles.keys: the host would refuse the bundle; sign it by one of these keys, with"
            " --sign"
        )

    script, appliance = directory / SCRIPT, directory / DIRECTORY
    if script.exists() and not script.read_bytes().startswith(_script()[:100]):
        raise PyindexError(f"{script}: exists, and is another script; choose another directory")
    ours = {*_PARTS, "pack", SUMS, f"{SUMS}{minisign.SUFFIX}"}
    others = {path.name for path in appliance.iterdir()} - ours if appliance.exists() else set()
    if others := {name for name in others if not name.startswith(".")}:
        raise PyindexError(
            f"{appliance}: contains other files: {', '.join(sorted(others))}; move them away, or"
            " choose another directory"
        )


def write_stick(
    directory: Path,
    spec: Spec,
    python: Python,
    packages: Path | None = None,
    upgrade: bool = False,
    key: minisign.SecretKey | None = None,
    report: Report = NO_REPORT,
) -> Stick:
    """Make ``directory`` a medium for the spec's host, signed by ``key``. The arguments are those
    of :func:`build_pack`, and versions are kept as there.

    The list of digests is written last: the script refuses a medium that an interruption left
    half written. Raises PyindexError as :func:`check_stick`, or if something cannot be downloaded;
    then a medium that was there is as it was.
    """
    check_stick(directory, spec, python, packages, key)
    appliance = directory / DIRECTORY
    appliance.mkdir(parents=True, exist_ok=True)
    with _locked(appliance):
        for left in (*appliance.glob(".new-*"), *appliance.glob(".pack-*")):  # by a killed process
            shutil.rmtree(left)
        pack = _fill(directory, spec, python, packages, upgrade, report)
        paths = _commit(directory, pack, key)
    return Stick(directory / SCRIPT, pack, len(paths), sum(path.stat().st_size for path in paths))


@contextlib.contextmanager
def _locked(appliance: Path) -> Iterator[None]:
    descriptor = os.open(appliance, os.O_RDONLY)
    try:
        if not try_lock(descriptor):
            raise PyindexError(
                f"{appliance}: another command is writing it; wait until it has ended"
            )
        yield
    finally:
        os.close(descriptor)


def _fill(
    directory: Path,
    spec: Spec,
    python: Python,
    packages: Path | None,
    upgrade: bool,
    report: Report,
) -> Pack:
    """Build the pack, and replace everything beside it; return the pack."""
    appliance = directory / DIRECTORY
    with tempfile.TemporaryDirectory(prefix=".new-", dir=appliance) as work:
        new = Path(work)
        reusable = appliance if not upgrade and _is_reusable(appliance, python) else None
        playbook.add_ansible(new / "wheels", python, reusable)
        playbook.add_playbook(new / "ansible")
        _add_spec(new / "spec", spec)
        (new / "hosts").write_text(_HOSTS)

        pack = build_pack(spec, appliance / "pack", python, packages, upgrade, report)
        (new / "settings").write_text(_settings(spec, appliance / "pack"))
        for name in _PARTS:
            if (appliance / name).exists():
                (appliance / name).rename(new / f"old-{name}")
            (new / name).rename(appliance / name)
    return pack


def _is_reusable(appliance: Path, python: Python) -> bool:
    """Whether the wheels of ansible on a medium are undamaged and for the same Python."""
    pack, sums = read_manifest(appliance / "pack"), appliance / SUMS
    if pack is None or pack["python"]["version"] != python.version or not sums.exists():
        return False
    prefix = f"  {DIRECTORY}/wheels/"
    wheels = digests.of_directory(appliance / "wheels")
    listed = sums.read_text(errors="replace").splitlines()
    return {line for line in listed if prefix in line} == {
        f"{digest}{prefix}{name}" for name, digest in wheels.items()
    }


def _add_spec(target: Path, spec: Spec) -> None:
    """Write the spec and the files that it reads on a control machine: keys and templates. Files
    of the host, such as private keys, are not among them."""
    keys = tuple(minisign.read_public(text).line for text in spec.bundles.keys)
    bundles = spec.bundles.model_copy(update={"keys": keys})
    text = hostspec.normal_form(
        spec.model_copy(update={"bundles": bundles}), "templates" if spec.host.templates else None
    )
    target.mkdir()
    (target / "pyindex.yml").write_text(text)
    if spec.host.templates:
        playbook.copy(spec.host.templates, target / "templates")


def _settings(spec: Spec, pack: Path) -> str:
    """The settings of the script, as variables of a shell."""
    manifest = read_manifest(pack)
    assert manifest and spec.url
    python = manifest["python"]
    options = f"--index-url {spec.url}/simple/"
    if spec.url.startswith("http:"):
        options += f" --trusted-host {urlsplit(spec.url).hostname}"
    elif spec.nginx.tls and spec.nginx.tls.ca:
        options += " --cert ca.pem"
    values = {
        "version": python["version"],
        "archive": python["archive"] or "",
        "strip": str(python["strip"] or 0),
        "url": spec.url,
        "options": options,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _commit(directory: Path, pack: Pack, key: minisign.SecretKey | None) -> list[Path]:
    """Write the script, the list of digests and its signature; return the paths of all files."""
    with Batch() as batch:
        batch.write(directory / SCRIPT, _script())
    paths = sorted(_files(directory))
    content = "".join(
        f"{digests.of_file(path)}  {path.relative_to(directory)}\n" for path in paths
    ).encode()
    sums = directory / DIRECTORY / SUMS
    signature = sums.with_name(f"{SUMS}{minisign.SUFFIX}")
    unlink(signature)
    with Batch() as batch:
        batch.write(sums, content)
        if key:
            digest = hashlib.blake2b(content).digest()
            batch.write(signature, key.sign(digest, f"pyindex appliance {pack.release}"))
    sync(directory)
    return paths


def _files(directory: Path) -> Iterator[Path]:
    yield directory / SCRIPT
    for name in (*_PARTS, "pack"):
        yield from digests.source_files(directory / DIRECTORY / name)


def _script() -> bytes:
    return resources.files("appliance.pack").joinpath("install.sh").read_bytes()
