"""The base of the sections of a spec."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Section of a spec: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)


def as_written(default: str) -> Any:
    """A default in the form of a spec file, which validation turns into the field's type."""
    return default
