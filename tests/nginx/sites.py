"""Specs and published indexes of the sites that tests run."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import yaml

from appliance import spec
from appliance.operations.update import update
from appliance.spec import Spec
from benchmarks.ports import HOST, free_port
from tests.conftest import scanned
from tests.dist import make_wheel, uploaded
from tests.nginx.servers import Answer, Server

MADE = "2020-02-03T04:05:06+00:00"
WHEEL = "/packages/sub%20dir/Foo_Bar-1.0+local-py2.py3-none-any.whl"
LARGE = "/packages/large-1.0-py2.py3-none-any.whl"
PAGE = "/simple/foo-bar/"
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True)
class Pair:
    """Appliance with its two servers: nginx, and the application without it."""

    spec: Spec
    nginx: Server
    application: Server

    def both(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """Return the answer of both servers, which must be equal."""
        answer = self.nginx.ask(path, headers, method)
        assert answer == self.application.ask(path, headers, method)
        return answer

    def sender(self, path: str, headers: dict[str, str] | None = None) -> str:
        """Return which server made nginx's answer: headers of the application are lower case."""
        with closing(self.nginx.connect()) as connection:
            connection.request("GET", f"{self.nginx.prefix}{path}", headers=headers or {})
            names = {name for name, _ in connection.getresponse().getheaders()}
        return "nginx" if "ETag" in names else "application"


def make_spec(directory: Path, prefix: str = "") -> Path:
    """Publish two indexes with a few files, and return the path of their spec with free ports."""
    for name in ("main/sub dir", "staging"):
        (directory / name).mkdir(parents=True)
    wheel = make_wheel(directory / "main/sub dir", "Foo_Bar", "1.0+local")
    signature = wheel.with_name(f"{wheel.name}.asc")
    signature.write_bytes(b"-----BEGIN PGP SIGNATURE-----")
    modules = {"large": "# " + "x" * 8_000_000}
    for path in (
        wheel,
        signature,
        make_wheel(directory / "main", "large", "1.0", modules=modules),
        make_wheel(directory / "staging", "only-here", "1.0"),
    ):
        uploaded(path, MADE)
    path = directory / "pyindex.yml"
    path.write_text(
        f"url: http://{HOST}:{free_port()}{prefix}\nstate: state\n"
        f"server: {{port: {free_port()}}}\n"
        "indexes: {main: {packages: main}, staging: {packages: staging, bases: [main]}}\n"
    )
    given = spec.load(path)
    update(given)
    scanned(given)
    return path


def nginx_port(of: Spec) -> int:
    return int(str(of.url).split(":")[2].split("/")[0])


def load(
    directory: Path, more: dict[str, object], tls: dict[str, str] | None, system: str | None
) -> Spec:
    """Load a spec of two indexes with more keys through a file in ``directory``."""
    nginx = more.get("nginx", {})
    assert isinstance(nginx, dict)
    data = {
        "state": "state",
        "indexes": {"main": {"packages": "main"}, "1-x": {"packages": "other"}},
        **more,
        "nginx": nginx | ({"tls": tls} if tls else {}),
        **({"host": {"system": system}} if system else {}),
    }
    path = directory / "pyindex.yml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return spec.load(path)


def publish(given: Spec) -> Path:
    """Create the packages directories, publish one wheel in the first, and return its path."""
    for index in given.indexes.values():
        index.packages.mkdir()
    wheel = make_wheel(given.indexes["main"].packages, "foo-bar", "1.0")
    update(given)
    return wheel
