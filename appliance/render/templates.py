"""Templates of ``deploy/`` and of the operator (``host.templates``), and how they are run."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from appliance.errors import SpecError
from appliance.render import escapes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from appliance.spec import Spec


def render(spec: Spec, template: str, *values: DataclassInstance) -> str:
    """The text of a template, which uses the fields of all ``values`` by name.

    Raises SpecError for an operator's template that is wrong or that others may write.
    """
    operator = spec.host.templates
    directory = Path(os.path.realpath(operator)) if operator else None
    if directory:
        _check_owners(directory)

    context = {
        field.name: getattr(value, field.name) for value in values for field in fields(value)
    }

    try:
        return environment(directory).get_template(template).render(context)
    except jinja2.TemplateError as error:
        if operator is None:
            raise
        raise SpecError([f"host.templates: {template}: {error}"]) from None


@cache
def environment(directory: Path | None = None) -> jinja2.Environment:
    """Return the sandboxed environment of templates: those in ``directory`` come first."""
    default = jinja2.PackageLoader("appliance.deploy", ".")
    loaders = [jinja2.FileSystemLoader(directory), default] if directory else [default]

    templates = SandboxedEnvironment(  # each output has its own filter instead
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    templates.filters["json"] = json.dumps
    for escape in (
        escapes.nginx,
        escapes.nginx_pattern,
        escapes.selinux,
        escapes.supervisor,
        escapes.systemd,
        escapes.systemd_listen,
        escapes.systemd_path,
    ):
        templates.filters[escape.__name__] = escape
    return templates


def _check_owners(directory: Path) -> None:
    """Raise SpecError if templates, or directories above them, can be written by users other than
    root and the caller: templates are a kind of program."""
    if problems := list(_problems(directory)):
        raise SpecError([f"host.templates: {problem}" for problem in problems])


def _problems(directory: Path) -> Iterator[str]:
    trusted = {0, os.geteuid()}
    for path in (*reversed(directory.parents), directory, *sorted(directory.rglob("*"))):
        try:
            status = path.stat()  # of a link's target
        except OSError as error:
            yield f"{path}: {error.strerror}"
            return

        if path.is_symlink():
            yield f"{path}: is a link; put the template itself there"

        # The sticky bit protects files from other users.
        is_sticky = status.st_mode & stat.S_ISVTX and path in directory.parents
        if status.st_mode & 0o022 and not is_sticky:
            yield f"{path}: is writable by others; run chmod go-w"

        if status.st_uid not in trusted:
            expected = " or ".join(map(str, sorted(trusted)))
            yield f"{path}: must be owned by uid {expected}, not {status.st_uid}"
