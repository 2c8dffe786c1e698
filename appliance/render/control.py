"""Units of the control machine, which run the play for the certificates once a day."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import PyindexError
from appliance.render.templates import environment

UNITS = ("pyindex-certificates.service", "pyindex-certificates.timer")


@dataclass(frozen=True)
class ControlValues:
    """Values for the templates of the control machine.

    Attributes:
        head: The first line of a file, without the comment sign.
        command: Program and arguments of the play.
    """

    head: str
    command: tuple[str, ...]


def units(inventory: Path, playbook: Path) -> dict[str, str]:
    """The text of each of :data:`UNITS`: they run the play as it would run here and now, with its
    ansible.cfg and this ``PATH``.

    Raises PyindexError if a file or ansible-playbook is missing.
    """
    for file in (inventory, playbook):
        if not file.exists():
            raise PyindexError(
                f"{file}: no such file; pass the path of an inventory and a playbook"
            )
    program = shutil.which("ansible-playbook")
    if program is None:
        raise PyindexError("ansible-playbook: not found; run this with the PATH of your plays")

    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    config = playbook.absolute().parent / "ansible.cfg"
    # systemd sets no HOME for services of root.
    settings = (f"PATH={path}", f"HOME={Path.home()}", f"ANSIBLE_CONFIG={config}")
    play = ("-i", str(inventory.absolute()), str(playbook.absolute()), "--tags", "certificates")
    head = "Written by `pyindex certificates timer`; run it again to change it."
    values = ControlValues(head, ("/usr/bin/env", *settings, program, *play))
    return {
        unit: environment().get_template(f"control/{unit}.j2").render(vars(values))
        for unit in UNITS
    }
