"""``pyindex serve``: an index in one command, for a laptop or behind a proxy."""

import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance import logs
from appliance.cli.options import Number, source_arguments
from appliance.cli.source import Source
from appliance.errors import PyindexError, SpecError

if TYPE_CHECKING:
    from appliance.spec import Spec
    from appliance.web.front import Front

_LOG = logging.getLogger("pyindex")
_PROCESSES = Number(1, 256)  # as in the spec


@click.command(short_help="serve an index and watch its packages directories")
@source_arguments
@click.option(
    "--url",
    help="address that clients use, with DIR; for a proxy that strips a path (a spec has `url`)",
)
@click.option("--host", help="address to listen on (default: from the spec, or 127.0.0.1)")
@click.option(
    "--port",
    type=Number(0, 0xFFFF),
    help="port to listen on, 0 for any (default: from the spec, or 8080)",
)
@click.option("--workers", type=_PROCESSES, help="number of workers (default: from the spec)")
@click.option("--threads", type=_PROCESSES, help="threads of each worker (default: from the spec)")
@click.option("--access-log", metavar="FILE", help="log each request to this file; - is stdout")
@click.option("--no-nginx", is_flag=True, help="do not put nginx in front, if it is installed")
def serve(
    source: Source,
    url: str | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    threads: int | None,
    access_log: str | None,
    no_nginx: bool,
) -> None:
    """Serve the indexes of a spec, or a directory of package files: `pyindex serve DIR` needs no
    spec and writes nothing into DIR. Where nginx is installed, it sends pages and files.
    """
    logs.to_stderr()
    spec = _load(source, url)
    logs.to_stderr(spec.server.log)
    _check_state(spec)
    _check_temporary_directory()
    command = [sys.executable, "-P", "-m", "appliance", "watch", *source.arguments()]
    log = _checked_log(access_log)

    # No module is imported from a packages directory, and no disk is kept busy.
    os.chdir("/")
    server = spec.server
    listen = _free_address(host or server.host, server.port if port is None else port)
    for number in (signal.SIGTERM, signal.SIGHUP):  # until gunicorn handles them
        signal.signal(number, lambda *_: sys.exit(1))
    for name, index in spec.indexes.items():
        url = f"http://{listen}{spec.path}/{spec.prefix(name)}simple/"
        _LOG.info("serving %s at %s", index.packages, url)
    front = None if no_nginx else _front(spec, listen, log)
    if front is not None and source.directory is not None:
        workers = workers or 1  # nginx does most of the work
    process = os.getpid()
    try:
        _serve(
            spec,
            command,
            front,
            bind=listen if front is None else front.bind,
            workers=workers or server.workers,
            threads=threads or server.threads,
            accesslog=log if front is None else None,
        )
    finally:
        if front is not None and os.getpid() == process:  # not a worker
            front.end()


def _front(spec: "Spec", listen: str, log: str | None) -> "Front | None":
    """An nginx in front of the server; says why if there is none."""
    from appliance.web.front import prepare

    try:
        front = prepare(spec, listen, log)
    except PyindexError as error:
        _LOG.info("without nginx, which sends pages and files many times as fast: %s", error)
        return None
    _LOG.info("with nginx %s in front", front.version)
    return front


def _serve(
    spec: "Spec",
    command: list[str],
    front: "Front | None",
    *,
    bind: str,
    workers: int,
    threads: int,
    accesslog: str | None,
) -> None:
    """Start nginx and the watcher, then the server, which ends with them."""
    from appliance.web.child import Child

    if front is not None:
        front.child.keep()  # it has the pages of an earlier run
    watcher = Child([*command, "--parent", str(os.getpid())])
    watcher.keep()
    # Not before: the watcher has as much to import, and first pages wait for it.
    from appliance.web.server import serve

    serve(spec, watcher, front, bind=bind, workers=workers, threads=threads, accesslog=accesslog)


def _load(source: Source, url: str | None) -> "Spec":
    """Load the spec, with the url of a directory. Raises SpecError for an invalid url."""
    spec = source.load()
    if url is None:
        return spec
    if source.directory is None:
        raise SpecError(["--url requires a directory; set `url` in the spec instead"])
    from appliance.spec import with_url

    return with_url(spec, url)


def _checked_log(log: str | None) -> str | None:
    """The absolute path of the access log, or what else the option says. Raises
    :class:`PyindexError` for a file that cannot be written."""
    if log in (None, "-"):
        return log
    path = Path(str(log)).absolute()
    if path.is_fifo():
        raise PyindexError(f"--access-log {path}: a pipe, which nobody may read; name a file")
    try:
        with open(path, "ab"):  # noqa: PTH123 - as gunicorn does
            return str(path)
    except OSError as error:
        raise PyindexError(f"--access-log {path}: {error.strerror}; choose another file") from None


def _free_address(host: str, port: int) -> str:
    """The address with a port, which is free if it is 0.

    Raises :class:`PyindexError` if no server can listen there: gunicorn would retry for long.
    """
    from appliance.spec.addresses import bracketed

    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = infos[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            return f"{bracketed(str(address[0]))}:{listener.getsockname()[1]}"
    except (OSError, UnicodeError) as error:  # the latter for a name with empty or long labels
        why = getattr(error, "strerror", None) or "not a host name"
        raise PyindexError(
            f"cannot listen on {bracketed(host)}:{port}: {why}; choose another address (--host,"
            " --port, or `server` in the spec), or stop the program that listens there"
        ) from None


def _check_state(spec: "Spec") -> None:
    """Raise :class:`PyindexError` if there are no published pages to serve, and the state directory
    cannot be written to make some."""
    from appliance.atomic import make_directory
    from appliance.site.tree import PAGES, Site

    site = Site(spec)
    try:
        site.check()
        if any((site.simple(name) / PAGES[0]).is_file() for name in spec.indexes):
            return
        make_directory(spec.state)
        with tempfile.TemporaryFile(dir=spec.state):
            pass
    except OSError as error:
        raise PyindexError(
            f"state directory {spec.state}: {error.strerror}; make it writable for uid"
            f" {os.geteuid()}, or choose another one (--state, or `state` in the spec)"
        ) from None


def _check_temporary_directory() -> None:
    """Raise :class:`PyindexError` if there is none, as in a container with a read-only root."""
    try:
        tempfile.gettempdir()
    except OSError:
        text = "no writable directory for temporary files; mount a tmpfs at /tmp, or set TMPDIR"
        raise PyindexError(text) from None
