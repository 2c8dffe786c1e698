"""The record of what was done on a host, ``/opt/pyindex/host.json``."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.errors import PyindexError
from appliance.host.files import link_target, replace_private
from appliance.host.paths import HostPaths
from appliance.host.rendered import REMEDY, read_json

PARTS = ("base", "service", "nginx")
SCHEMA = 1
# What older plays recorded. Where the first is, an older play has run since; it is deleted first.
_PLACED, _STARTED, _SERVED = (
    "/etc/pyindex/placed.json",
    "/opt/pyindex/started.json",
    "/opt/pyindex/served",
)
OLDER_RECORDS = (_PLACED, _STARTED, _SERVED)


class Switched(BaseModel):
    """The releases before a switch that no verification install has confirmed yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    current: str
    previous: str


class HostState(BaseModel):
    """The state of a host; read under its lock.

    Attributes:
        current: The release that is to run; empty before the first one.
        previous: The release for a rollback; empty if there is none.
        latest: The release that was applied last; its ``pyindex host`` manages the host.
        undo: What a failed verification install returns to.
        is_rolling_back: Whether a rollback to the current release was interrupted.
        placed: Paths of all files that may be on the host.
        removed: Paths removed since the service was last restarted.
        loaded: The digest of a part's files, for each part whose programs have loaded them.
        socket: The digest of the socket unit that was last started.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(SCHEMA, alias="schema")
    current: str = ""
    previous: str = ""
    latest: str = ""
    undo: Switched | None = None
    is_rolling_back: bool = False
    placed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    loaded: dict[str, str] = {}
    socket: str = ""

    @property
    def pending(self) -> list[str]:
        """Parts whose programs have not loaded the files of the host."""
        return [part for part in PARTS if part not in self.loaded]

    def changed(self, **changes: object) -> "HostState":
        """This state with other values."""
        return self.model_copy(update=changes)


def load(host: HostPaths) -> HostState:
    """The state of the host, from the records of an older play if one has run since.

    Raises PyindexError for a record of a newer pyindex, or one that is damaged.
    """
    state = _read(host.state)
    if has_older_records(host):
        return _from_older_records(host, state.latest)
    return state


def has_older_records(host: HostPaths) -> bool:
    """Whether an older play has run since the state was last saved."""
    return host.of(_PLACED).exists()


def save(host: HostPaths, state: HostState) -> None:
    """Record the state atomically, then delete the records of older plays."""
    text = state.model_dump_json(by_alias=True, indent=1)
    replace_private(host.state, f"{text}\n".encode(), mode=0o644)
    for path in map(host.of, OLDER_RECORDS):
        if path.exists():
            path.unlink()


def _read(path: Path) -> HostState:
    data = read_json(path)
    if data is None:
        return HostState()
    if not isinstance(data, dict):
        raise PyindexError(f"{path}: expected a mapping; {REMEDY}")
    if (schema := data.get("schema")) != SCHEMA:
        text = f"{path}: expected schema {SCHEMA}, got {schema}; use the pyindex that wrote it"
        raise PyindexError(text)
    try:
        return HostState.model_validate(data)
    except ValidationError as error:
        raise PyindexError(f"{path}: {error.errors()[0]['msg']}; {REMEDY}") from None


def _from_older_records(host: HostPaths, latest: str) -> HostState:
    started = read_json(host.of(_STARTED)) or {}
    loaded = {"nginx": _text(host.of(_SERVED))}
    if started:
        loaded["service"] = f"{started['release']}:{started['files']}"
    return HostState(
        current=Path(link_target(host.opt / "current")).name,
        previous=Path(link_target(host.opt / "previous")).name,
        latest=latest,
        placed=tuple(read_json(host.of(_PLACED)) or ()),
        loaded=loaded,
        socket=started.get("socket", ""),
    )


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
