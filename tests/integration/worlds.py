"""Another index: a tree of plain files, with pages and paths in the form of public indexes.

A server and its clients run in namespaces of their own, where the host names of the other index
lead to the server and nothing else is reachable.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.clients import Environment
from tests.integration.servers import project
from tests.nginx.servers import configuration, running

INDEX, FILES = "index.example", "files.example"
URL = f"https://{INDEX}/simple/"
# Gives nginx namespaces with a loopback device and these host names.
ALONE = 'ip link set lo up && mount --bind "$0" /etc/hosts && exec "$@"'


@dataclass(frozen=True)
class World:
    """Namespaces of a process, and the CA that clients trust there."""

    pid: int
    ca: str

    def inside(self, environment: Environment) -> "Inside":
        return Inside(environment, self)


class Inside(Environment):
    """Environment whose programs run in a world."""

    def __init__(self, here: Environment, world: World) -> None:
        super().__init__(here.python.parents[1], here.home)
        self._world = world

    def _run(self, command: list[str], cwd: Path, code: int, variables: Mapping[str, str]) -> str:
        # The directory as it is mounted there: renaming between two mounts fails.
        inside = ["sh", "-c", 'cd "$0" && exec "$@"', str(cwd)]
        enter = ["nsenter", f"--target={self._world.pid}", "--mount", "--net", *inside]
        names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "PDM_PYPI_CA_CERTS")
        own = dict.fromkeys(names, self._world.ca) | {"PIP_TRUSTED_HOST": "", "no_proxy": "*"}
        return super()._run([*enter, *command], cwd, code, own | dict(variables))


@contextmanager
def other_index(
    directory: Path, packages: Iterable[Path], tls: Mapping[str, str]
) -> Iterator[World]:
    """Serve *packages* from a tree of plain files, as the index that is named `INDEX`."""
    _write_tree(directory / "www", packages)
    site = (
        f"server {{ listen 443 ssl; server_name {INDEX} {FILES}; root {directory}/www;"
        f' ssl_certificate "{tls["certificate"]}"; ssl_certificate_key "{tls["key"]}";'
        " types { text/html html; } index index.html; }"
    )
    with world(directory, site, tls["ca"]) as running_world:
        yield running_world


@contextmanager
def world(directory: Path, site: str, ca: str) -> Iterator[World]:
    """Run nginx with a site in namespaces of its own."""
    hosts, written = directory / "hosts", directory / "nginx/pid"
    hosts.write_text(f"127.0.0.1 localhost {INDEX} {FILES}\n")
    nginx = configuration(directory / "nginx", site)
    command = ["unshare", "--mount", "--net", "sh", "-c", ALONE, str(hosts), *nginx]
    with running(
        command, directory / "log", lambda: written.exists() and written.read_text() != ""
    ):
        yield World(int(written.read_text()), ca)


def _write_tree(www: Path, packages: Iterable[Path]) -> None:
    """Write pages and files as public indexes arrange them."""
    for package in packages:
        content = package.read_bytes()
        digest = hashlib.blake2b(content, digest_size=32).hexdigest()
        path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{package.name}"
        target = www / path
        target.parent.mkdir(parents=True)
        target.symlink_to(package.absolute())
        page = www / "simple" / project(package) / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as html:
            sha256 = hashlib.sha256(content).hexdigest()
            html.write(f'<a href="https://{FILES}/{path}#sha256={sha256}">{package.name}</a>\n')
