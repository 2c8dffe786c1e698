"""The pack, a directory that ansible copies to a host without a network: wheels, pip, a probe
wheel, a Python, OS packages.

Not here: the host's files (`render`), installing them (ansible).

:mod:`build` makes a pack, :mod:`integrity` compares one with its :mod:`manifest`. A pack is
replaced as a whole. Its release is named after the digests of its files, so that other content is
another release. Versions are chosen once: a later run with the same inputs keeps them.
:mod:`stick` makes a medium of a pack, the :mod:`playbook` and a script, for a host that no control
machine reaches. :mod:`authority` is the private CA of the control machine, whose certificates
(:mod:`x509`) a play copies to hosts.
"""

from appliance.pack.build import build_pack
from appliance.pack.integrity import check_pack
from appliance.pack.manifest import Pack
from appliance.pack.stick import Stick, check_stick, write_stick

__all__ = ["Pack", "Stick", "build_pack", "check_pack", "check_stick", "write_stick"]
