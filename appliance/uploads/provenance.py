"""Provenance of files: attestations that a client uploads (PEP 740), as installers read them.

Only the form of attestations is checked, and that they are about the file. Their signatures are
not: what they prove depends on whom a client trusts.
"""

import base64
import json
from typing import Any

from appliance.uploads.refused import Refused

_MOST = 32
_PUBLISHER = {"kind": "pyindex", "claims": None}


def provenance(attestations: str, filename: str, sha256: str) -> bytes:
    """Return the provenance object of a file from the field ``attestations`` of its form, as JSON.
    Raises :class:`Refused` for what is no list of attestations about this file."""
    try:
        entries = json.loads(attestations)
        if not isinstance(entries, list) or not 0 < len(entries) <= _MOST:
            raise TypeError(f"expected a list of 1 to {_MOST} attestations")
        for entry in entries:
            _check(entry, filename, sha256)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise Refused(400, f"Malformed attestations (PEP 740): {error}"[:300]) from None

    bundle = {"publisher": _PUBLISHER, "attestations": entries}
    return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()


def _check(entry: Any, filename: str, sha256: str) -> None:
    """Raise ``ValueError``, ``TypeError`` or ``LookupError`` for what is no attestation."""
    material, envelope = entry["verification_material"], entry["envelope"]
    texts = [envelope["signature"], envelope["statement"], material["certificate"]]
    if entry["version"] != 1 or not all(isinstance(each, str) for each in texts):
        raise ValueError("expected version 1, and texts for certificate, statement and signature")
    if not isinstance(material["transparency_entries"], list):
        raise TypeError("expected a list of transparency_entries")

    statement = json.loads(base64.b64decode(envelope["statement"], validate=True))
    [subject] = statement["subject"]
    if subject["name"] != filename or subject["digest"]["sha256"] != sha256:
        raise ValueError(f"the subject is not {filename} with sha256 {sha256}")
