"""For which spec the tree was made: what all of it depends on beside the catalog."""

import hashlib

from appliance.atomic import unlink
from appliance.site.tree import Site
from appliance.spec import Spec

# Raise it when the tree changes its form, so that all of it is written again.
_FORM = 2


def packages_url(spec: Spec, view: str, index: str) -> str:
    """The URL of an index's files as a project page of ``view`` refers to it."""
    if view == index:
        return "../../packages/"
    return f"{spec.path}/{spec.prefix(index)}packages/"


def is_laid_out(spec: Spec) -> bool:
    """Whether ``www`` was made for this spec, and in full once."""
    try:
        return (spec.www / ".layout").read_bytes() == _layout(spec)
    except FileNotFoundError:
        return False


def note_layout(site: Site, spec: Spec) -> None:
    """Note that the tree is made for this spec, and in full."""
    with site.batch() as batch:
        batch.write(spec.www / ".layout", _layout(spec))


def forget_layout(spec: Spec) -> None:
    """Until all is written, nothing is known to be there."""
    unlink(spec.www / ".layout")


def described(spec: Spec) -> dict[str, str]:
    """The same in words, by what each part is."""
    has_bases = any(index.bases for index in spec.indexes.values())
    parts = {"form of pages": str(_FORM), "order of indexes": ", ".join(spec.indexes)}
    if has_bases:
        parts["path of the url"] = spec.path or "/"
    for name, index in spec.indexes.items():
        parts[f"packages directory of {name}"] = str(index.packages)
        parts[f"bases of {name}"] = ", ".join(index.bases) or "none"
    return parts


def _layout(spec: Spec) -> bytes:
    """What the whole tree depends on beside the catalog."""
    has_bases = any(index.bases for index in spec.indexes.values())
    parts = [str(_FORM), spec.path if has_bases else ""]  # see packages_url
    for name, index in spec.indexes.items():
        parts += [name, str(index.packages.resolve()), *index.bases]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest().encode()
