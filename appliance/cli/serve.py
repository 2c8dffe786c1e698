"""``pyindex serve``: the whole index in one command, for a laptop or behind a proxy."""

import argparse
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from appliance.atomic import make_directory
from appliance.cli import common
from appliance.errors import PyindexError, SpecError
from appliance.site.tree import PAGES, Site
from appliance.spec import Spec, with_url
from appliance.spec.addresses import bracketed
from appliance.web.watcher import WatcherProcess


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = verbs.add_parser(
        "serve",
        help="serve an index, and follow its package directories",
        description="Serve an index: `pyindex serve DIR` needs no spec, and writes nothing into "
        "DIR; `pyindex serve -c SPEC` serves the indexes of a spec.",
    )
    common.add_source(parser, positional=True)
    parser.add_argument(
        "--url",
        help="address that clients type, with DIR: behind a proxy that strips a path, say"
        " (a spec has its own)",
    )
    parser.add_argument("--host", help="address to listen on (default: of the spec, 127.0.0.1)")
    parser.add_argument(
        "--port",
        type=_number("a port", 0, 0xFFFF),
        help="port to listen on, 0 for any (default: of the spec, 8080)",
    )
    for option, of, what in (
        ("--workers", "processes", "processes that answer"),
        ("--threads", "threads", "threads of each"),
    ):
        number = _number(f"a number of {of}", 1, 256)  # as in the spec
        parser.add_argument(option, type=number, help=f"{what} (default: of the spec)")
    parser.add_argument("--access-log", metavar="FILE", help="log each request there; - is stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    common.log_to_stderr()
    spec = _at(common.source(arguments), arguments)
    _check_state(spec)
    source = _source(arguments)
    log = arguments.access_log
    if log not in (None, "-"):
        log = str(Path(log).absolute())
        _check_log(log)
    # Nothing is imported from where packages lie, and no disk is kept busy.
    os.chdir("/")
    server = spec.server
    host = arguments.host or server.host
    port = server.port if arguments.port is None else arguments.port
    _check_address(host, port)
    watcher = WatcherProcess([sys.executable, "-P", "-m", "appliance", "watch", *source])
    watcher.keep()
    # Not before: the watcher has as much to import, and first pages wait for it.
    from appliance.web.server import serve

    serve(
        spec,
        watcher,
        bind=f"{bracketed(host)}:{port}",
        workers=arguments.workers or server.workers,
        threads=arguments.threads or server.threads,
        accesslog=log,
    )
    return 0


def _at(spec: Spec, arguments: argparse.Namespace) -> Spec:
    """The spec with the url that was given for a directory. Raises SpecError if it is none."""
    if arguments.url is None:
        return spec
    if arguments.directory is None:
        raise SpecError(["--url goes with a directory; a spec has its own url"])
    return with_url(spec, arguments.url)


def _check_log(path: str) -> None:
    """Raise :class:`PyindexError` if nothing can be written there."""
    try:
        with open(path, "ab"):  # noqa: PTH123 - as gunicorn does
            pass
    except OSError as error:
        raise PyindexError(f"--access-log {path}: {error.strerror}") from None


def _check_address(host: str, port: int) -> None:
    """Raise :class:`PyindexError` if nothing can listen there: gunicorn would try for long."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except (OSError, UnicodeError) as error:  # the latter for a name with empty or long labels
        why = getattr(error, "strerror", None) or "no name of a host"
        raise PyindexError(
            f"cannot listen on {bracketed(host)}:{port}: {why}; name another address"
            " (--host, --port, or server in the spec), or stop what listens there"
        ) from None


def _check_state(spec: Spec) -> None:
    """Raises :class:`PyindexError` if nothing is published that could be served, and nothing can be
    written that would be."""
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
            f"state {spec.state}: {error.strerror}; wanted a directory that user {os.geteuid()} may"
            " write into: name another (--state, or state in the spec), or change its owner"
        ) from None


def _number(what: str, least: int, most: int) -> Callable[[str], int]:
    """A converter of an option's text to a number between two bounds, which belong to it."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}: wanted {least} to {most}")
        return int(text)

    return parse


def _source(arguments: argparse.Namespace) -> list[str]:
    """The options of :func:`common.add_source` for another process in another directory."""
    if arguments.directory is None:
        return ["--spec", str(common.spec_path(arguments).absolute())]
    options = [str(arguments.directory.absolute())]
    if arguments.state is not None:
        options += ["--state", str(arguments.state.absolute())]
    return options
