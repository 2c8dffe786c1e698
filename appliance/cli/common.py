"""What several verbs share: which index they speak of, and how they log."""

import argparse
import contextlib
import logging
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance import spec
from appliance.errors import NotFound, PyindexError, SpecError
from appliance.spec import Spec

_PLACES = (Path("pyindex.yml"), Path("/etc/pyindex/pyindex.yml"))


def add_source(parser: argparse.ArgumentParser, positional: bool = False) -> None:
    """Options that say where the index is: a spec, or a directory of packages without one."""
    directory = "directory of package files, to use without a spec"
    if positional:
        parser.add_argument("directory", metavar="DIR", nargs="?", type=Path, help=directory)
    else:
        parser.add_argument("-d", "--directory", metavar="DIR", type=Path, help=directory)
    add_spec(parser)
    parser.add_argument(
        "--state", type=Path, help="directory for catalog and pages, with DIR (default: chosen)"
    )


def source(arguments: argparse.Namespace, changes: bool = False) -> Spec:
    """The spec that the options of :func:`add_source` mean. From here on root is whoever owns its
    state. Who ``changes`` something there must mean what a server that uses it serves: raises
    :class:`PyindexError` otherwise."""
    found = _source(arguments)
    act_as_owner(found.state)
    if changes:
        from appliance.operations.watchlock import check_alone

        check_alone(found)
    return found


def _source(arguments: argparse.Namespace) -> Spec:
    directory, path, state = arguments.directory, arguments.spec, arguments.state
    if directory is not None and path is not None:
        raise SpecError(["give a directory or a spec, not both"])
    if directory is not None:
        return _of_directory(directory, state)
    if state is not None:
        raise SpecError(["--state goes with a directory; a spec has its own state"])
    return spec.load(spec_path(arguments))


def _of_directory(directory: Path, state: Path | None) -> Spec:
    """The spec of a directory. It need not be there now, if something of it is published: to work
    on with that is what happens when it goes while a server runs, too."""
    try:
        return spec.for_directory(directory, state)
    except SpecError as error:
        found = spec.for_directory(directory, state, must_exist=False)
        (problem,) = error.problems
        if not _is_published(found):
            text = f"{problem}, and {found.state} has nothing that was published of it"
            raise SpecError([text]) from None
        print(f"pyindex: {problem}; what is published of it stays", file=sys.stderr)
        return found


def _is_published(found: Spec) -> bool:
    from appliance.site.tree import Site
    from appliance.site.views import View

    with contextlib.suppress(OSError):
        return View(found, Site(found), found.root).number > 0
    return False


def act_as_owner(state: Path) -> None:
    """Let root become whoever owns the state directory, before anything in it is opened: what root
    made there, the service could not write."""
    try:
        status = state.stat()
    except OSError:
        return  # it will be made, by whoever this is
    if os.geteuid() != 0 or status.st_uid == 0:
        return
    try:
        owner = pwd.getpwuid(status.st_uid)
    except KeyError:
        os.setgroups([])
        name, group = f"user {status.st_uid}", status.st_gid
        os.environ.update(HOME="/", USER=name, LOGNAME=name)
    else:
        os.initgroups(owner.pw_name, owner.pw_gid)
        name, group = owner.pw_name, owner.pw_gid
        os.environ.update(HOME=owner.pw_dir, USER=name, LOGNAME=name)
    os.setresgid(group, group, group)
    os.setresuid(status.st_uid, status.st_uid, status.st_uid)
    print(f"pyindex: acting as {name}, who owns {state}", file=sys.stderr)
    for part in (sys.executable, os.__file__, __file__):
        if not os.access(part, os.R_OK):
            raise PyindexError(
                f"{part}: {name} may not read it: install pyindex where others may, such as /opt,"
                " not in root's home"
            )


def add_spec(parser: argparse.ArgumentParser) -> None:
    """The option that names a spec, alone for verbs that are about the file or the host."""
    parser.add_argument(
        "-c",
        "--spec",
        metavar="SPEC",
        type=Path,
        help="the spec (default: $PYINDEX_SPEC, ./pyindex.yml, /etc/pyindex/pyindex.yml)",
    )


def spec_path(arguments: argparse.Namespace) -> Path:
    """The file that the option of :func:`add_spec` means; :class:`SpecError` if there is none."""
    path: Path | None = arguments.spec
    return path or _usual_place()


@contextlib.contextmanager
def about(path: Path) -> Iterator[None]:
    """A :class:`SpecError` about a spec that was read already is told with the spec's file."""
    try:
        yield
    except SpecError as error:
        raise SpecError([f"{path}: {problem}" for problem in error.problems]) from None


def _usual_place() -> Path:
    if named := os.environ.get("PYINDEX_SPEC"):
        return Path(named)
    for place in _PLACES:
        if os.path.exists(place):  # noqa: PTH110  # Path's version fails in a directory not ours
            if not place.is_absolute():
                _check_owner(place)
            return place
    places = " or ".join(map(str, _PLACES))
    raise SpecError([f"no spec at {places}: give a directory, -c SPEC, or run `pyindex init`"])


def _check_owner(place: Path) -> None:
    """Refuse what somebody else put into the directory that we happen to be in: it says which
    directories are written to, and which templates run."""
    for status in (place.lstat(), place.stat()):
        if status.st_uid not in (os.geteuid(), 0):
            owner = f"is of user {status.st_uid}, and this runs as {os.geteuid()}"
            raise SpecError([f"./{place}: {owner}; if you trust it, give it: -c ./{place}"])


def add_index(parser: argparse.ArgumentParser) -> None:
    """Options that say where the index is, and which one of its spec."""
    add_source(parser)
    parser.add_argument("--index", help="which index (default: the first of the spec)")


def index(arguments: argparse.Namespace) -> tuple[Spec, str]:
    """The spec and the index of it that the options of :func:`add_index` mean."""
    found = source(arguments, changes=True)
    name = str(arguments.index or found.root)
    if name not in found.indexes:
        raise NotFound(f"no index {name!r}; the spec has {', '.join(found.indexes)}")
    return found, name


def log_to_stderr() -> None:
    """Plain lines; journald and a terminal add the time themselves, or can."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
