"""Servers as context managers: on a free loopback port, ready when entered, ended when left."""

import hashlib
import http.client
import os
import string
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from pathlib import Path

import requests

from appliance import render, spec
from benchmarks import processes
from benchmarks.ports import HOST, free_port

WORKERS, THREADS = "2", "8"
START_LIMIT = 120.0
POLL = 0.005
Command = list[str | Path]
_NGINX = """\
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log stderr warn;
{user}
events {{}}
http {{
    access_log off;
    {temporary}
{site}
}}
"""
_PLAIN = """\
    sendfile on;
    server {{
        listen {host}:{port};
        location / {{ root {pages}; }}
        location /packages/ {{ alias {packages}/; }}
        location /cached/packages/ {{
            alias {packages}/;
            open_file_cache max=200 inactive=10s;
        }}
    }}
"""
_INDEX = """\
    sendfile on;
    keepalive_requests 1000000;
    log_format sent $body_bytes_sent;
    types {{ application/vnd.pypi.simple.v1+json json; }}
    default_type application/octet-stream;
    server {{
        listen {host}:{port};
        access_log {folder}/access sent;
        location /simple/ {{ root {www}; index index.json; }}
        location /packages/ {{ root {www}; try_files $uri @files; }}
        location @files {{ root {above}; }}
    }}
"""

USER = "bench"
"""User and password of uploads."""
DEVPI_INDEX = f"{USER}/dev"
PRIVATE = "private"
"""The index that only the user may read."""
_SPEC = """\
state: {folder}/state
indexes:
  main: {{packages: {folder}/packages, upload: [{user}]}}
  {private}: {{packages: {folder}/private, read: [{user}]}}
accounts: {{htpasswd: {folder}/htpasswd}}
nginx: {{max_upload: 8g}}
"""
_HASH = (
    "$6$benchmark$y0CkWA0J2pzb8USYMvKPCm7OHypZ/pStC36PsMnDL"
    ".TnC7yDGUvjGpNzcuAFINyNmm1gY73Assvg2OG0cfgUA."
)


class ServerError(Exception):
    """A server did not start; the text ends with what it wrote."""


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, who it is, how long its first 200 took."""

    port: int
    pid: int
    ready_after: float

    def memory(self) -> tuple[float, float]:
        """Return (RSS, PSS) in MiB of the largest worker: a child that was forked, not started."""
        command = processes.command(self.pid)
        return max(
            processes.memory(pid)
            for pid in processes.children(self.pid)
            if processes.command(pid) == command
        )

    def settle(self) -> None:
        """Return when it has done what it does at its start, or after a minute."""
        for _ in range(60):
            before = self.cpu()
            time.sleep(1)
            if self.cpu() - before < 0.1:
                return

    def cpu(self) -> float:
        """Return the seconds of CPU that it and its children have used, ended ones included."""
        return sum(processes.cpu(pid) for pid in processes.session(self.pid))


@contextmanager
def running(
    command: Sequence[str | Path],
    port: int,
    path: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run ``command``, enter when ``path`` answers 200, and end it and its children at the end."""
    with log.open("ab") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

        try:
            while not answers(port, path):
                if process.poll() is not None or time.perf_counter() - start > START_LIMIT:
                    raise ServerError(f"{command[0]} does not serve: {log.read_text()[-2000:]}")
                time.sleep(POLL)
            yield Server(port, process.pid, time.perf_counter() - start)
        finally:
            processes.end(process)


def answers(port: int, path: str) -> bool:
    """Tell whether a GET of ``path`` is answered 200 now."""
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        finally:
            connection.close()
    return False


@contextmanager
def plain_nginx(nginx: Path, folder: Path, pages: Path, packages: Path) -> Iterator[Server]:
    """Run an nginx that sends files with sendfile and does nothing else: the limit."""
    port = free_port()
    site = _PLAIN.format(host=HOST, port=port, pages=pages, packages=packages)
    with _nginx(nginx, folder, site, port, "/simple/index.html") as server:
        yield server


@contextmanager
def pyindex_nginx(
    nginx: Path, folder: Path, packages: Path, state: Path, application: Server
) -> Iterator[Server]:
    """Run an nginx with the site that pyindex renders for it, ``application`` behind it."""
    port = free_port()
    index = spec.for_directory(packages, state).model_copy(
        update={
            "url": f"http://{HOST}:{port}",
            "server": spec.Server(host=HOST, port=application.port),
        }
    )
    with _nginx(nginx, folder, render.nginx(index, HOST), port, "/simple/") as server:
        yield server


@contextmanager
def index_nginx(nginx: Path, folder: Path, packages: Path, state: Path) -> Iterator[Server]:
    """Run an nginx that serves the published pages and files of an index, in JSON; its log
    ``access`` has the size of each body. ``packages`` is named so."""
    port = free_port()
    site = _INDEX.format(
        host=HOST, port=port, folder=folder, www=state / "www", above=packages.parent
    )
    with _nginx(nginx, folder, site, port, "/simple/") as server:
        yield server


@contextmanager
def distant(server: Server, log: Path, round_trip: float, rate: float) -> Iterator[Server]:
    """Run a relay to ``server`` that is as far away as ``round_trip`` seconds, and whose
    connections carry ``rate`` bytes a second."""
    port = free_port()
    command: Command = [sys.executable, "-m", "benchmarks.distance", str(port), str(server.port)]
    with running([*command, str(round_trip), str(rate)], port, "/simple/", log) as relay:
        yield relay


@contextmanager
def _nginx(nginx: Path, folder: Path, site: str, port: int, path: str) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    config = _NGINX.format(
        folder=folder,
        # The folders of whoever runs this need not be open to the user that nginx would become.
        user="user root;" if os.geteuid() == 0 else "",
        temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
        site=site,
    )
    (folder / "nginx.conf").write_text(config)
    command: Command = [nginx, "-p", folder, "-c", folder / "nginx.conf"]
    with running(command, port, path, folder / "log") as server:
        yield server


@contextmanager
def pypiserver(program: Path, packages: Path, log: Path) -> Iterator[Server]:
    """Run pypiserver at its best: waitress (its "auto"), and the cache that watches the folder."""
    port = free_port()
    command: Command = [program, "run", "-i", HOST, "-p", str(port), "--server", "auto"]
    command += ["--backend", "cached-dir", "-a", ".", "-P", ".", "--disable-fallback", packages]
    with running(command, port, "/simple/", log) as server:
        yield server


@contextmanager
def pypiron(program: Path, folder: Path) -> Iterator[Server]:
    """Run pypiron on an empty ``folder``, without any way out; :func:`upload` fills it."""
    port = free_port()
    folder.mkdir(parents=True)
    options = {
        "--data-dir": str(folder / "data"),
        "--spool-dir": str(folder),
        "--bind-addr": f"{HOST}:{port}",
        "--uploader-user": USER,
        "--uploader-pass": USER,
        "--private-pattern": ",".join(f"{letter}*" for letter in string.ascii_lowercase),
        "--advisory-feed": "",
        "--malware-block": "false",
    }
    command: Command = [program, "serve", *chain.from_iterable(options.items())]
    with running(command, port, "/health", folder / "log") as server:
        yield server


def upload(server: Server, files: Iterable[Path]) -> None:
    """Upload wheels as upload clients do; raise ServerError when one is not taken."""
    with requests.Session() as session:
        for file in files:
            content = file.read_bytes()
            answer = session.post(
                f"http://{HOST}:{server.port}/legacy/",
                data=upload_fields(file.name, content),
                files={"content": (file.name, content)},
                auth=(USER, USER),
                timeout=60,
            )
            if answer.status_code != HTTPStatus.OK:
                raise ServerError(f"{file.name}: {answer.status_code} {answer.text[:500]}")


def upload_fields(filename: str, content: bytes) -> dict[str, str]:
    """Return the fields of the form that uploads a wheel, but the file itself."""
    name, version, *_ = filename.split("-")
    return {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "name": name,
        "version": version,
        "sha256_digest": hashlib.sha256(content).hexdigest(),
    }


@contextmanager
def devpi(program: Path, folder: Path) -> Iterator[Server]:
    """Run devpi-server with one empty index that takes uploads, without any way out."""
    port = free_port()
    place: Command = ["--serverdir", folder]
    subprocess.run(
        [program.with_name("devpi-init"), *place, "--no-root-pypi"],
        capture_output=True,
        timeout=120,
        check=True,
    )

    command: Command = [program, *place, "--host", HOST, "--port", str(port), "--offline-mode"]
    with running(command, port, "/+api", folder.with_suffix(".log")) as server:
        url = f"http://{HOST}:{port}"
        user = requests.put(f"{url}/{USER}", json={"password": USER}, timeout=60)
        login = requests.post(f"{url}/+login", json={"user": USER, "password": USER}, timeout=60)
        token = f"{USER}:{login.json()['result']['password']}"
        header = {"X-Devpi-Auth": b64encode(token.encode()).decode()}
        index = requests.put(f"{url}/{DEVPI_INDEX}", json={"bases": []}, headers=header, timeout=60)
        for answer in (user, index):
            answer.raise_for_status()
        yield server


@contextmanager
def pyindex_accounts(program: Path, folder: Path) -> Iterator[Server]:
    """Run ``pyindex serve``, without nginx, on ``packages`` in a folder, which take uploads, and on
    the index PRIVATE."""
    port, path = free_port(), folder / "pyindex.yml"
    (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
    path.write_text(_SPEC.format(folder=folder, user=USER, private=PRIVATE))
    command: Command = [program, "serve", "--spec", path, "--no-nginx"]
    command += ["--host", HOST, "--port", str(port), "--workers", WORKERS, "--threads", THREADS]
    with running(command, port, "/simple/", folder / "log") as server:
        yield server


@contextmanager
def accounts_nginx(nginx: Path, folder: Path, application: Server) -> Iterator[Server]:
    """Run nginx before :func:`pyindex_accounts` with the same folder."""
    port = free_port()
    index = spec.load(folder / "pyindex.yml").model_copy(
        update={
            "url": f"http://{HOST}:{port}",
            "server": spec.Server(host=HOST, port=application.port),
        }
    )
    with _nginx(nginx, folder / "nginx", render.nginx(index, HOST), port, "/simple/") as server:
        yield server


@contextmanager
def pyindex(program: Path, packages: Path, state: Path, path: str = "/") -> Iterator[Server]:
    """Run ``pyindex serve`` on a folder, without nginx; entered when ``path`` answers 200."""
    port = free_port()
    command: Command = [program, "serve", packages, "--state", state, "--no-nginx"]
    command += ["--host", HOST, "--port", str(port), "--workers", WORKERS, "--threads", THREADS]
    with running(command, port, path, state.with_suffix(".log")) as server:
        yield server


@contextmanager
def constant(pages: Sequence[Path], log: Path) -> Iterator[Server]:
    """Run gunicorn as ``pyindex serve`` does, with the least falcon app that sends ``pages``."""
    port = free_port()
    command: Command = [sys.executable, "-m", "gunicorn", "benchmarks.constant:create_app()"]
    command += ["-b", f"{HOST}:{port}", "-k", "gthread", "-w", WORKERS, "--threads", THREADS]
    command += ["--keep-alive", "75", "--no-control-socket"]
    path = f"/simple/{pages[0].parent.name}/"
    environment = {"BENCHMARK_PAGES": os.pathsep.join(map(str, pages))}
    with running(command, port, path, log, environment) as server:
        yield server
