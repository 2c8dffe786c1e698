"""Servers that tests start as processes, nginx and the application, and requests to them."""

import http.client
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ports import HOST
from tests.conftest import eventually

PATIENCE = 60
# Headers that differ between answers or between servers.
HOP_BY_HOP = {"date", "server", "connection", "keep-alive", "transfer-encoding"}
NGINX = """\
daemon off;
{user}
pid {directory}/pid;
error_log {directory}/errors info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {surroundings}
    include {directory}/site;
}}
"""


@dataclass(frozen=True)
class Answer:
    """Answer of a server; equality ignores the header Server.

    Attributes:
        headers: By name in small letters; repeated ones are joined by commas.
        server: The header Server, which ``headers`` lacks.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    server: str | None = field(compare=False)


@dataclass(frozen=True)
class Server:
    """Server on a port, below a URL prefix.

    Attributes:
        address: The address that the server listens on.
        source: The source address of requests, or ``None`` for any.
        ca: The CA file for TLS, or ``None`` for plain HTTP.
        host: The value of the header Host.
    """

    port: int
    prefix: str = ""
    address: str = HOST
    source: str | None = None
    ca: str | None = None
    host: str = "evil.example"

    def connect(self) -> http.client.HTTPConnection:
        source = (self.source, 0) if self.source else None
        if self.ca is None:
            return http.client.HTTPConnection(
                self.address, self.port, timeout=PATIENCE, source_address=source
            )
        trusted = ssl.create_default_context(cafile=self.ca)
        return http.client.HTTPSConnection(
            self.address, self.port, timeout=PATIENCE, source_address=source, context=trusted
        )

    def ask(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """Send a request with exactly this path and these headers."""
        with closing(self.connect()) as connection:
            connection.putrequest(
                method, f"{self.prefix}{path}", skip_accept_encoding=True, skip_host=True
            )
            for name, value in {"Host": self.host, **(headers or {})}.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders()
            response = connection.getresponse()
            body = response.read()
        joined: dict[str, str] = {}
        for name, value in ((name.lower(), value) for name, value in response.getheaders()):
            if name not in HOP_BY_HOP:
                joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return Answer(response.status, joined, body, response.headers["Server"])


def configuration(directory: Path, site: str, surroundings: str = "") -> list[str]:
    """Write a complete configuration around ``site`` into a new directory; return the command."""
    directory.mkdir()
    (directory / "site").write_text(site)
    # Otherwise workers run as another user, who cannot read pytest's directories.
    user = "user root;" if os.geteuid() == 0 else ""
    whole = NGINX.format(user=user, directory=directory, surroundings=surroundings)
    (directory / "nginx.conf").write_text(whole)
    return ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")]


@contextmanager
def serving(directory: Path, site: str, surroundings: str = "") -> Iterator[int]:
    """Run nginx with ``site`` in a new directory during the context; yield its process id."""
    command = configuration(directory, site, surroundings)
    written = directory / "pid"  # nginx writes it once it listens
    with running(
        command, directory / "log", lambda: written.exists() and written.read_text() != ""
    ):
        yield int(written.read_text())


@contextmanager
def application(path: Path, port: int, *binds: str) -> Iterator[None]:
    """Run the application with the spec at ``path`` on a port and on further gunicorn addresses."""
    command = [sys.executable, "-m", "gunicorn", "--workers=1", "--threads=4", "--keep-alive=75"]
    command += ["--worker-class=appliance.web.worker.Worker"]
    command += [f"--bind={address}" for address in (f"{HOST}:{port}", *binds)]
    command += ["--no-control-socket", "appliance.wsgi"]
    log = path.with_name("gunicorn.log")
    with running(command, log, lambda: listens(port), PYINDEX_SPEC=str(path)):
        yield


@contextmanager
def running(
    command: list[str], log: Path, ready: Callable[[], bool], **environment: str
) -> Iterator[None]:
    """Run ``command`` during the context, entered when ``ready`` is true. Raise if the process ends
    before; print its output if the context fails."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | environment
        )

    def started() -> bool:
        assert process.poll() is None, log.read_text()
        return ready()

    try:
        eventually(started)
        yield
    except BaseException:
        print(f"{command}:\n{log.read_text()}")
        raise
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE):
        return True
    return False
