"""Certificates of a private CA, made with openssl."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
privileged = pytest.mark.skipif(
    shutil.which("openssl") is None or os.geteuid() != 0,
    reason="needs openssl, and root for ports 80 and 443",
)
KEYS = {"rsa": ["rsa:2048"], "ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]}


def certificate(directory: Path, name: str, kind: str = "rsa") -> dict[str, str]:
    """Create a certificate signed by a private CA; return the spec's ``tls`` section."""
    authority, server_path = directory / f"{kind}-ca", directory / kind
    more = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={name}"]
    for path, options in (
        # Python 3.13 and newer requires the usage of a CA's key (RFC 5280, 4.2.1.3).
        (authority, ["-subj", "/CN=a private CA", "-addext", "keyUsage=critical,keyCertSign"]),
        (
            server_path,
            ["-subj", "/CN=pyindex", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"],
        ),
    ):
        command = ["openssl", "req", "-x509", "-nodes", "-days", "90", "-newkey", *KEYS[kind]]
        command += ["-keyout", f"{path}.key", "-out", f"{path}.pem", *options]
        command += more if path == server_path else []
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {
        "certificate": f"{server_path}.pem",
        "key": f"{server_path}.key",
        "ca": f"{authority}.pem",
    }
