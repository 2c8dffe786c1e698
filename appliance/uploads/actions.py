"""The actions of upload clients: what a form asks for, and the answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from appliance.errors import NotFound
from appliance.uploads import checks
from appliance.uploads.checks import Release
from appliance.uploads.commit import Sender
from appliance.uploads.form import Form
from appliance.uploads.receive import Upload
from appliance.uploads.refused import Refused

Right = Literal["upload", "remove"]
Allow = Callable[[Right, Release], Sender]
"""Function that returns who sends a form, or raises an error without the right for the release."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The text of a successful answer, and the serial of the pages that show its effect, if any."""

    text: str
    serial: int = 0


def answer(upload: Upload, allow: Allow) -> Answer:
    """Do what a received form asks for. Raises :class:`Refused`, and what ``allow`` raises."""
    form = upload.form()
    action = _ACTIONS.get(form.action)
    if action is None:
        known = ", ".join(_ACTIONS)
        raise Refused(400, f"Unknown :action {form.action!r}; expected one of {known}")
    return action(upload, form, allow)


def _store(upload: Upload, form: Form, allow: Allow) -> Answer:
    serial = upload.store(form, lambda release: allow("upload", release))
    return Answer("OK", serial)


def _register(upload: Upload, form: Form, allow: Allow) -> Answer:
    """`setup.py register sdist upload` goes on after a success only."""
    allow("upload", checks.release(form))
    return Answer("OK: projects need no registration; upload files")


def _remove(upload: Upload, form: Form, allow: Allow) -> Answer:
    release = checks.release(form)
    sender = allow("remove", release)
    try:
        removed = upload.remove(release, sender)
    except NotFound as error:
        raise Refused(404, str(error)) from None
    return Answer(f"OK: removed {', '.join(removed)}")


def _no_documentation(upload: Upload, form: Form, allow: Allow) -> Answer:
    raise Refused(410, "Documentation is not hosted here; upload package files only")


def _no_accounts(upload: Upload, form: Form, allow: Allow) -> Answer:
    raise Refused(410, "Accounts are made by the operator of this index")


_ACTIONS: dict[str, Callable[[Upload, Form, Allow], Answer]] = {
    "file_upload": _store,
    "submit": _register,
    "submit_pkg_info": _register,
    "verify": _register,
    "remove_pkg": _remove,
    "doc_upload": _no_documentation,
    "user": _no_accounts,
    "password_reset": _no_accounts,
}
