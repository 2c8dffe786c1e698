"""A host with the packages of a team: an open index, a private one that takes uploads, accounts.
Users upload and install on a workstation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.hosts.control import Play
from tests.hosts.host import Host
from tests.hosts.load import Load
from tests.hosts.machines import Machine, Workstation
from tests.hosts.processes import output
from tests.hosts.specs import NAME, settings
from tests.integration.clients import NEWEST, ROOT
from tests.integration.uploaders import UPLOADERS, Attempt, Target, prepare

URL = f"https://{NAME}"
PACKAGES = {name: f"/srv/pyindex/{name}" for name in ("main", "staging")}
HTPASSWD = "/etc/pyindex/htpasswd"
PASSWORDS = {"alice": "Curiouser+1865", "bob": "Can-we-fix-it"}
_UPLOADERS = {each.title: each for each in UPLOADERS}
_numbers = count()


def team_spec(
    folder: Path,
    readers: Sequence[str] = ("everyone",),
    uploaders: Sequence[str] = ("alice", "tokens"),
    **changes: object,
) -> Path:
    """Write the spec of the host: who may read ``main``, and who may upload to ``staging``."""
    paths = {name: f"/etc/pyindex-tls/{name}.pem" for name in ("certificate", "key", "ca")}
    staging = {"bases": ["main"], "read": ["members"], "upload": [*uploaders]}
    return settings(
        folder,
        NAME,
        "debian-12",
        url=URL,
        accounts={"htpasswd": HTPASSWD},
        indexes={
            "main": {"packages": PACKAGES["main"], "read": [*readers]},
            "staging": {"packages": PACKAGES["staging"], **staging},
        },
        nginx={"tls": paths},
        host={"system": "debian-12", "contributors": ["ops"]},
        **changes,
    )


def documented(page: str, beginning: str) -> str:
    """The command that begins so, as a guide has it."""
    lines = (ROOT / "docs/guides" / page).read_text().splitlines()
    commands = {line.strip().removeprefix("$ ") for line in lines}
    (command,) = {each for each in commands if each.startswith(beginning)}
    return command


def upload(
    workstation: Workstation, target: Target, attempt: Attempt, client: str = "twine", code: int = 0
) -> str:
    """Build a wheel and upload it from the workstation; return what the client prints."""
    prepare(attempt, "first upload")
    uploader = _UPLOADERS[client]
    environment = workstation.environment(uploader.client)
    arguments, variables = uploader.command(attempt, target)
    variables = {**target.variables, **variables}
    return environment.run(*arguments, cwd=attempt.directory, code=code, variables=variables)


@dataclass(frozen=True)
class Team:
    """The host and the workstation; ``directory`` has the projects, ``ca`` is the private CA."""

    host: Host
    workstation: Workstation
    directory: Path
    ca: Path

    @property
    def machine(self) -> Machine:
        return self.host.machine

    def play(self, **changes: object) -> Play:
        """Run the play with the changed spec; see :func:`team_spec`."""
        team_spec(self.host.spec.parent, **changes)  # type: ignore[arg-type]
        return self.host.play()

    def as_operator(self, command: str, code: int | None = 0) -> str:
        """Run a command of a guide by `sudo`, as the user ``ops`` who has logged in."""
        login = (*self.machine.ssh[:-1], f"ops@{self.machine.address}")
        return output((*login, f"sudo {command}"), code=code)

    def add_account(self, name: str) -> None:
        """Add an account as the guide says; openssl asks twice for the password."""
        command = documented("accounts.md", 'echo "alice:').replace("alice", name)
        self.machine.run("sh", "-c", command, content=2 * f"{PASSWORDS[name]}\n".encode())

    def upload(
        self,
        project: str,
        version: str = "1.0",
        client: str = "twine",
        login: tuple[str, str] = ("alice", PASSWORDS["alice"]),
        code: int = 0,
    ) -> str:
        """Upload a wheel to ``staging`` from the workstation; return what the client prints."""
        attempt = Attempt(self.directory / str(next(_numbers)), project, version, *login)
        target = Target(f"{URL}/staging", str(self.ca), Path(PACKAGES["staging"]))
        return upload(self.workstation, target, attempt, client, code)

    def install(self, project: str, index: str = "staging", login: str = "alice") -> str:
        """Install a project with pip on the workstation; return what pip prints."""
        pip = self.workstation.environment(NEWEST.name)
        url = f"https://{login}:{PASSWORDS[login]}@{NAME}/{index}/simple/"
        return pip.run("-m", "pip", "install", "--cert", self.ca, "--index-url", url, project)

    def get(self, path: str, login: str = "") -> str:
        """Request a path from the workstation; return the status line, the header and the body."""
        credentials = ("--user", login) if login else ()
        curl = ("curl", "--silent", "--include", "--cacert", self.ca, "--output", "-")
        return self.workstation.run(*curl, *credentials, f"{URL}{path}")

    def statuses(self, paths: Sequence[str], login: str = "") -> set[str]:
        """Return the statuses of several paths."""
        return {self.get(path, login).split()[1] for path in paths}

    def access_log(self) -> str:
        """Return nginx's log since the last rotation; an entry is up to five seconds late."""
        return self.machine.run("cat", "/var/log/pyindex/access.log")

    def load(self, paths: Sequence[str], **headers: str) -> Load:
        return Load(self.machine.address, NAME, paths, headers, self.ca)
