"""The appliance on its host: place rendered files, switch and roll back releases, remove it all.

Not here: rendering files (`render`), installing releases and enabling units (ansible).

From the ground up:
:mod:`paths` has paths and the lock of a host, :mod:`files` reads and replaces its files,
:mod:`rendered` has them as values, as copied to the host and as stored with a release. :mod:`state`
is the record of what was done. :mod:`switch` changes a host from one release and its files to
another; :mod:`changes` has the commands that use it. :mod:`load` has programs load the files, and
:mod:`remove` removes the appliance.

A command that was killed at any time completes when it is run again.
"""

from appliance.host.changes import apply, prune, rollback
from appliance.host.load import load_files
from appliance.host.paths import HostPaths
from appliance.host.remove import Removal, remove
from appliance.host.state import PARTS
from appliance.host.switch import Change

__all__ = [
    "PARTS",
    "Change",
    "HostPaths",
    "Removal",
    "apply",
    "load_files",
    "prune",
    "remove",
    "rollback",
]
