"""A target: one Python on one platform, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.tags import Tag


@dataclass(frozen=True, slots=True)
class Target:
    """One Python on one platform.

    Attributes:
        name: Its name in messages: a preset, or ``<interpreter>-<platform>``.
        interpreter: Implementation, version and ABI: ``cp311``, ``cp27mu``, ``cp313t``, ``pp310``.
        platform: The newest platform tag that it supports: ``manylinux2014_x86_64``.
        tags: All tags of wheels that it can install, best first (PEP 425).
        environment: All variables of its environment markers but ``extra`` (PEP 508).
        ranks: The position of each tag in ``tags``.
    """

    name: str
    interpreter: str
    platform: str
    tags: tuple[Tag, ...] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False, hash=False)
    ranks: Mapping[Tag, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ranks = {tag: position for position, tag in enumerate(self.tags)}
        object.__setattr__(self, "ranks", ranks)

    @property
    def python(self) -> str:
        """Its Python version for Requires-Python: ``3.11.9``."""
        return self.environment["python_full_version"]

    @property
    def python_version(self) -> tuple[int, ...]:
        """Its major and minor version: ``(3, 11)``."""
        return tuple(int(part) for part in self.environment["python_version"].split("."))
