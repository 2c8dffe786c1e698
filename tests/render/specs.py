"""Specs of hosts that tests render, by name."""

from pathlib import Path

import yaml

from appliance import spec
from appliance.spec import Spec

_SMALL = """\
url: http://pypi.lab.example
state: /var/lib/pyindex
indexes:
  main: {packages: /srv/pyindex/packages}
"""
_FULL = """\
name: lab
url: https://pypi.lab.example/py
state: /var/lib/pyindex
indexes:
  main: {packages: /srv/pyindex/packages, upload: [alice, ci]}
  staging: {packages: /srv/pyindex/staging, bases: [main]}
  private: {packages: /srv/pyindex/private, read: [members]}
  mixed: {packages: /srv/pyindex/mixed, projects: {acme-*: {read: [alice], upload: [ci]}}}
accounts: {htpasswd: /etc/pyindex/htpasswd}
server: {workers: 4, threads: 16}
nginx:
  tls:
    certificate: /etc/pki/pyindex/fullchain.pem
    key: /etc/pki/pyindex/key.pem
    ca: /etc/pki/pyindex/ca.pem
  names: [pypi, pypi.other.example]
  stand_in: [index.example, files.example]
  internal: [127.0.0.1, "::1", 10.0.0.0/8]
  max_upload: 512m
backup: {directory: /mnt/backup/pyindex, keep: 30}
"""
# (spec, system, manager, bind); None is the default.
SPECS = {
    "debian-12": (_SMALL, "debian-12", "systemd", None),
    "debian-12-full": (_FULL, "debian-12", "systemd", None),
    "debian-12-port": (_SMALL, "debian-12", "systemd", "port"),
    "debian-12-supervisor": (_SMALL, "debian-12", "supervisor", None),
    "centos-7": (_SMALL, "centos-7", "systemd", None),
    "centos-7-full": (_FULL, "centos-7", "systemd", None),
    "centos-7-socket": (_SMALL, "centos-7", "systemd", "socket"),
    "centos-7-supervisor": (_FULL, "centos-7", "supervisor", None),
}


def load(name: str, directory: Path) -> Spec:
    """Load the spec ``name`` through a file in ``directory``."""
    text, system, manager, bind = SPECS[name]
    data = yaml.safe_load(text)
    server = data.get("server", {}) | {"manager": manager} | ({"bind": bind} if bind else {})
    data |= {"server": server, "host": {"system": system}}
    path = directory / "pyindex.yml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return spec.load(path)
