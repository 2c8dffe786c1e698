"""The layout note: the parts of the spec that the whole published tree depends on."""

import hashlib

from appliance.atomic import unlink
from appliance.site.pages import PAGE_FORMAT
from appliance.site.tree import Site
from appliance.spec import Spec


def packages_url(spec: Spec, view: str, index: str) -> str:
    """Return the URL of an index's files for a project page of ``view``."""
    if view == index:
        return "../../packages/"
    return f"{spec.path}/{spec.prefix(index)}packages/"


def is_laid_out(spec: Spec) -> bool:
    """Return whether ``www`` was completely written for this spec."""
    try:
        return (spec.www / ".layout").read_bytes() == _layout(spec)
    except FileNotFoundError:
        return False


def record_layout(site: Site, spec: Spec) -> None:
    """Record that ``www`` is completely written for this spec."""
    with site.batch() as batch:
        batch.write(spec.www / ".layout", _layout(spec))


def delete_layout(spec: Spec) -> None:
    """Delete the record, before ``www`` is rewritten."""
    unlink(spec.www / ".layout")


def described(spec: Spec) -> dict[str, str]:
    """Return the same as text, by the name of each part."""
    has_bases = any(index.bases for index in spec.indexes.values())
    names = {"page format": str(PAGE_FORMAT), "order of indexes": ", ".join(spec.indexes)}
    if has_bases:
        names["path of url"] = spec.path or "/"
    for name, index in spec.indexes.items():
        names[f"packages directory of {name}"] = str(index.packages)
        names[f"bases of {name}"] = ", ".join(index.bases) or "none"
        if index.policy.private:
            names[f"private to {name}"] = ", ".join(index.policy.private)
    if spec.nginx.stand_in_files:
        names["files of the index stood in for"] = spec.nginx.stand_in_files
    return names


def _layout(spec: Spec) -> bytes:
    """Return a digest of the parts of the spec that the whole tree depends on."""
    has_bases = any(index.bases for index in spec.indexes.values())
    parts = [str(PAGE_FORMAT), spec.path if has_bases else ""]  # see packages_url
    for name, index in spec.indexes.items():
        parts += [name, str(index.packages.resolve()), *index.bases]
        parts += (f"private {pattern}" for pattern in index.policy.private)
    if spec.nginx.stand_in_files:
        parts += ["stand-in", spec.nginx.stand_in_files]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest().encode()
