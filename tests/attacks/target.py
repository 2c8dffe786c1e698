"""Index under attack, and the conditions that must hold after each attack."""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from appliance.catalog.database import Catalog
from tests.conftest import eventually
from tests.dist import make_sdist, make_wheel
from tests.faults.commands import Commands
from tests.integration.servers import Server, behind_nginx, embedded
from tests.nginx.servers import Answer
from tests.nginx.servers import Server as Asked
from tests.wholeness import digest

SECRET = b"bytes from outside the packages directory"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
FORMS: list[Callable[..., AbstractContextManager[Server]]] = [
    embedded,
    behind_nginx,
]
# So many files that those of an attack are never most of the index: the watcher would keep the
# deletion of most files pending.
_OLD = 60
# Without capabilities file modes apply to root too.
_PLAIN_USER = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()


@dataclass
class Target:
    """Running index.

    Attributes:
        directory: The directory of its state and log.
        outside: A directory next to the packages directory, whose files contain SECRET.
        known: Digests by path of the accepted files, which must stay served.
    """

    server: Server
    directory: Path
    outside: Path
    commands: Commands
    known: dict[str, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def log(self) -> str:
        return (self.directory / "serve.log").read_text()

    @property
    def packages(self) -> Path:
        return self.server.packages

    @property
    def catalog(self) -> Catalog:
        return Catalog(self.directory / "state" / "catalog.sqlite")

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return Asked(self.server.port).ask(path, headers)

    def page(self, project: str) -> dict[str, tuple[str, str]]:
        """Return URL path and digest of each file on a project's page, by file name."""
        page_url = f"/simple/{project}/"
        answer = self.get(page_url, JSON)
        if answer.status != 200:
            return {}
        return {
            file["filename"]: (urljoin(page_url, file["url"]), file["hashes"]["sha256"])
            for file in json.loads(answer.body)["files"]
        }

    def serves(self, file: Path) -> bool:
        """Return whether the file is on its page and the server sends it with the page's digest."""
        project = file.name.split("-")[0].replace("_", "-").lower()
        url, sha256 = self.page(project).get(file.name, ("", ""))
        if not url:
            return False
        answer = self.get(url)
        return answer.status == 200 and digest(answer.body) == sha256 == digest(file.read_bytes())

    def refused(self) -> dict[str, str]:
        """Return the reasons of rejections by path."""
        with self.catalog.read() as reader:
            return {each.path: each.reason for each in reader.rejections("main")}

    def drop(self, name: str = "good") -> Path:
        """Write a valid wheel and return it once it is served."""
        wheel = make_wheel(self.packages, f"{name}{next(self.numbers)}", "1.0")
        eventually(lambda: self.serves(wheel))
        self.known[wheel.name] = digest(wheel.read_bytes())
        return wheel

    def watchers(self) -> set[tuple[int, str]]:
        """Return the process id and start time of each watcher of the packages directory."""
        marks = {str(self.packages).encode(), str(self.directory / "pyindex.yml").encode()}
        watchers = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
                began = (process / "stat").read_text().rpartition(")")[2].split()[19]
            except OSError:  # the process has ended
                continue
            if b"watch" in arguments and marks & set(arguments):
                watchers.add((int(process.name), began))
        return watchers

    def clear(self) -> None:
        """Remove everything but the files that were accepted before."""
        for entry in self.packages.iterdir():
            if entry.name not in self.known:
                subprocess.run(["rm", "-rf", "--", entry], check=True)


@contextmanager
def target(
    form: Callable[..., AbstractContextManager[Server]],
    directory: Path,
    commands: Commands,
) -> Iterator[Target]:
    """Run an index of a few files in a new directory, as a user to whom file modes apply."""
    packages, outside, own = (directory / name for name in ("packages", "outside", "own"))
    for place in (packages, outside, own):
        place.mkdir()
    files = [make_wheel(packages, "old", f"1.{number}") for number in range(_OLD)]
    files.append(make_sdist(packages, "old", "0.9"))
    secret = make_wheel(outside, "secret", "1.0", modules={"secret": f"# {SECRET.decode()}\n"})
    shutil.copy2(secret, packages.parent / secret.name)
    (outside / "secret.txt").write_bytes(SECRET)
    with form(packages, own, _PLAIN_USER) as server:
        attacked = Target(server, own, outside, commands)
        attacked.known = {file.name: digest(file.read_bytes()) for file in files}
        yield attacked


@dataclass(frozen=True)
class Before:
    """State before an attack: watchers, and length of the log."""

    watchers: set[tuple[int, str]]
    log: int


def before(of: Target) -> Before:
    return Before(of.watchers(), len(of.log))


def stays_up(of: Target, since: Before) -> None:
    """Check the conditions that hold after every attack.

    A new file is served, and so are those from before; the watcher is still the same process;
    ``/health`` and ``pyindex status`` answer; the log has no traceback.
    """
    of.drop()
    for name in [*list(of.known)[:3], *list(of.known)[-3:]]:
        assert of.serves(of.packages / name), f"{name} is not served any more"
    health = of.get("/health")
    assert health.status in (200, 503)
    assert json.loads(health.body)["status"]
    status = of.commands.run("status", "--json", *of.server.source)
    assert status.code in (0, 1), f"{status}"
    assert "Traceback" not in status.err, f"{status}"
    assert json.loads(status.out)["indexes"]["main"]["files"] >= len(of.known)
    assert of.watchers() == since.watchers, "the watcher was started again"
    assert "Traceback" not in (log := of.log[since.log :]), log[-3000:]
