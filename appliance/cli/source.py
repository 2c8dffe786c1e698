"""Which spec a command uses: the file that an option or the environment names, a file at a usual
path, or a directory of package files without a spec."""

import contextlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.output import print_error
from appliance.cli.owner import act_as_owner
from appliance.errors import NotFound, SpecError

if TYPE_CHECKING:
    from appliance.spec import Spec

_USUAL_PATHS = (Path("pyindex.yml"), Path("/etc/pyindex/pyindex.yml"))


@dataclass(frozen=True, slots=True)
class Source:
    """The options that name the indexes of a command: a directory of package files, with a state
    directory if not the default, or a spec."""

    directory: Path | None = None
    spec: Path | None = None
    state: Path | None = None

    @property
    def is_named(self) -> bool:
        """Whether options, the environment or a file at a usual path name a spec."""
        named = self.directory or self.spec or self.state or os.environ.get("PYINDEX_SPEC")
        return bool(named) or any(map(os.path.exists, _USUAL_PATHS))

    def load(self, is_change: bool = False) -> "Spec":
        """Return the spec. From here on root acts as the owner of its state directory.

        With ``is_change`` the command changes what is in there: raises :class:`PyindexError` if a
        watcher publishes something else for the same state directory. Raises :class:`SpecError` for
        options that name no spec.
        """
        spec = self.read()
        act_as_owner(spec.state)
        if is_change:
            from appliance.operations.watchlock import check_alone

            check_alone(spec)
        return spec

    def load_if_any(self) -> "Spec | None":
        """Return the same, or ``None`` if no option names a spec and none is at a usual path."""
        is_named = self != Source() or "PYINDEX_SPEC" in os.environ
        return self.load() if is_named or _usual_spec() else None

    def load_index(self, name: str | None) -> "tuple[Spec, str]":
        """Return the spec for a change, and the name of its index ``name``: the first without one.
        Raises :class:`NotFound`."""
        spec = self.load(is_change=True)
        index = name or spec.root
        check_index(spec, index)
        return spec, index

    @contextlib.contextmanager
    def naming_spec(self) -> Iterator[None]:
        """Begin the problems of a :class:`SpecError` about the loaded spec with its path."""
        try:
            yield
        except SpecError:
            with naming_spec(find_spec(self.spec)):
                raise

    def arguments(self) -> list[str]:
        """Return the arguments of ``pyindex watch`` that name the same in any directory."""
        if self.directory is None:
            return ["--spec", str(find_spec(self.spec).absolute())]
        state = [] if self.state is None else ["--state", str(self.state.absolute())]
        return [str(self.directory.absolute()), *state]

    def read(self) -> "Spec":
        """Return the spec, for a command that uses no state directory. Raises as :meth:`load`."""
        from appliance.spec import load

        if self.directory is not None and self.spec is not None:
            raise SpecError(["got a directory and a spec; pass only one of them"])
        if self.directory is not None:
            return _load_directory(self.directory, self.state)
        if self.state is not None:
            raise SpecError(["--state requires a directory; set `state` in the spec instead"])
        return load(find_spec(self.spec))


def check_index(spec: "Spec", name: str) -> None:
    """Raise :class:`NotFound` if the spec has no index ``name``."""
    if name not in spec.indexes:
        raise NotFound(f"index {name!r} not found; the spec has {', '.join(spec.indexes)}")


def find_spec(path: Path | None) -> Path:
    """Return the file that an option or $PYINDEX_SPEC names, or the first usual path that exists.
    Raises :class:`SpecError` if there is none."""
    if path is not None:
        return path
    if named := os.environ.get("PYINDEX_SPEC"):
        return Path(named)

    if (usual_path := _usual_spec()) is not None:
        if not usual_path.is_absolute():
            _check_owner(usual_path)
        return usual_path
    usual = " or ".join(map(str, _USUAL_PATHS))
    raise SpecError([f"no spec at {usual}; pass a directory or -c SPEC, or run `pyindex init`"])


def _usual_spec() -> Path | None:
    # Path's version of exists fails in an unreadable directory.
    paths = (path for path in _USUAL_PATHS if os.path.exists(path))  # noqa: PTH110
    return next(paths, None)


def _check_owner(path: Path) -> None:
    """Raise :class:`SpecError` for a file that another user put into the current directory: a spec
    decides which directories are written to, and which templates run."""
    trusted = sorted({0, os.geteuid()})
    for status in (path.lstat(), path.stat()):
        if status.st_uid not in trusted:
            expected = " or ".join(map(str, trusted))
            owner = f"owned by uid {status.st_uid}, must be owned by uid {expected}"
            raise SpecError([f"./{path}: {owner}; if you trust it, pass -c ./{path}"])


@contextlib.contextmanager
def naming_spec(path: Path) -> Iterator[None]:
    """Begin the problems of a :class:`SpecError` with the path of the spec."""
    try:
        yield
    except SpecError as error:
        raise SpecError([f"{path}: {problem}" for problem in error.problems]) from None


def _load_directory(directory: Path, state: Path | None) -> "Spec":
    """Return the spec of a directory. A missing directory is served from its published pages, as by
    a server that runs when the directory vanishes."""
    from appliance.spec import for_directory

    try:
        return for_directory(directory, state)
    except SpecError as error:
        (problem,) = error.problems
        spec = for_directory(directory, state, must_exist=False)
        if not _is_published(spec):
            text = f"{problem}, and {spec.state} has no published pages of it; correct the path"
            if not os.path.lexists(directory):
                text += f", or create it: mkdir {shlex.quote(str(directory))}"
            raise SpecError([text]) from None
        print_error(f"{problem}; keeping its published pages")
        return spec


def _is_published(spec: "Spec") -> bool:
    from appliance.site.tree import Site
    from appliance.site.views import View

    with contextlib.suppress(OSError):
        return View(spec, Site(spec), spec.root).number > 0
    return False
