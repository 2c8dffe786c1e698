"""Certificates of a private CA, made with openssl."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes certificates with openssl"
)
privileged = pytest.mark.skipif(
    shutil.which("openssl") is None or os.geteuid() != 0,
    reason="makes certificates with openssl, and listens at ports 80 and 443",
)
KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]}


def certificate(folder: Path, name: str, kind: str = "rsa") -> dict[str, str]:
    """Create a certificate signed by a private CA; return the spec's ``tls`` section."""
    authority, place = folder / f"{kind}-ca", folder / kind
    more = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={name}"]
    for path, options in (
        (authority, ["-subj", "/CN=a private CA"]),
        (place, ["-subj", "/CN=pyindex", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"]),
    ):
        command = ["openssl", "req", "-x509", "-nodes", "-days", "9", "-newkey", *KEYS[kind]]
        command += ["-keyout", f"{path}.key", "-out", f"{path}.pem", *options]
        command += more if path == place else []
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {"certificate": f"{place}.pem", "key": f"{place}.key", "ca": f"{authority}.pem"}
