"""One escape for each syntax, named after it. What a syntax cannot carry is a SpecError."""

import re

from appliance.errors import SpecError

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def nginx(value: object) -> str:
    """One word of nginx's configuration.

    Raises SpecError for ``$``, which nginx has no way to write, and control characters.
    """
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f$]", text):
        raise SpecError([f"{text!r} cannot stand in nginx's configuration: it has a '$'"])
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
