"""Packs: all that a host without a network needs, in one directory for ansible to copy.

A pack has wheels, pip, a probe, and where asked for a Python and OS packages. It is replaced as a
whole. Its release is named after the digests of its files, so that other content is another
release. Versions are chosen once: a later run with the same inputs keeps them.

Nothing here knows what ansible does with a pack, or runs on the host.
"""

from appliance.pack.build import build_pack
from appliance.pack.integrity import check_pack
from appliance.pack.manifest import Pack

__all__ = ["Pack", "build_pack", "check_pack"]
