"""Backups: copies of the catalog in the spec's backup directory."""

import contextlib
import hashlib
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from appliance.atomic import sync, unlink
from appliance.catalog import schema
from appliance.catalog.database import Catalog, CatalogError
from appliance.catalog.sqlite import connect_to_read
from appliance.operations import tokencopies
from appliance.operations.housekeeping import record_backup
from appliance.operations.stamps import seconds, stamp
from appliance.spec import Spec

# Names have the local time: the end of summer time sets it back.
_CLOCK_SECONDS = 2 * 3600
_COPY = re.compile(r"catalog-([0-9a-f]{8})-([0-9]{8}T[0-9]{6})\.sqlite")


def backup(spec: Spec) -> Path:
    """Write a copy of the catalog, remove copies beyond ``backup.keep``, and return its path.

    The copy is a snapshot, and complete, checked and durable when it appears. Other files in the
    directory stay. Raises :class:`CatalogError` or ``OSError``.
    """
    owner = _owner(spec, _number(spec))
    directory = spec.backup.directory
    directory.mkdir(0o750, parents=True, exist_ok=True)
    new = directory / f"catalog-{owner}-{stamp()}.sqlite"
    copy_durably(spec.catalog, new, lambda copy: tokencopies.save(spec.tokens, copy))

    copies = list(_copies(directory))
    earlier = [copy for other, copy in copies if other == owner and copy != new]
    for old in earlier[: max(0, len(earlier) + 1 - spec.backup.keep)]:
        old.unlink()
    record_backup(spec)
    return new


def _number(spec: Spec) -> int:
    """Return the number that identifies copies of this catalog."""
    catalog = Catalog(spec.catalog)
    with catalog.read() as reader:
        number = reader.mark("backup")
    if number == 0:
        number = 1 + secrets.randbelow(1 << 62)
        catalog.set_mark("backup", number)
    return number


def _owner(spec: Spec, number: int) -> str:
    """Return eight hex digits that identify the owner of backups.

    They depend on the path of the state directory and on a number in the catalog, as hosts that
    share a disk for their backups have the same paths.
    """
    return hashlib.sha256(os.fsencode(f"{number} {spec.state.resolve()}")).hexdigest()[:8]


def _copies(directory: Path) -> Iterator[tuple[str, Path]]:
    """Yield the backups in a directory with their owners, the oldest first.

    Those from the future come before all others: the clock was set back since, and every copy from
    then on is newer.
    """
    latest = time.time() + _CLOCK_SECONDS
    with contextlib.suppress(OSError):
        matches = [(_COPY.fullmatch(path.name), path) for path in directory.iterdir()]
        named = [(match, path) for match, path in matches if match is not None]
        named.sort(key=lambda each: ((seconds(each[0][2]) or 0) <= latest, each[0][2]))
        for match, path in named:
            if path.is_file() and not path.is_symlink():
                yield match[1], path


def last_backup_serial(spec: Spec) -> int:
    """Return the serial of the newest backup of a catalog at this path; 0 if there is none."""
    newest = dict(_copies(spec.backup.directory))
    return max((_serial(spec, owner, copy) for owner, copy in newest.items()), default=0)


def _serial(spec: Spec, owner: str, copy: Path) -> int:
    numbers = "SELECT coalesce(max(value), 0) FROM mark WHERE name = 'backup'"
    try:
        with closing(connect_to_read(copy)) as connection:
            (number,) = connection.execute(numbers).fetchone()
            (serial,) = connection.execute("SELECT max(serial) FROM journal").fetchone()
    except sqlite3.DatabaseError:
        return 0
    is_valid = isinstance(serial, int) and 0 <= serial < schema.SERIALS
    return serial if is_valid and _owner(spec, number) == owner else 0


# --- copies of a catalog as files ---------------------------------------------------------------


def copy_durably(
    catalog: Path, target: Path, add: Callable[[Path], None] = lambda copy: None
) -> None:
    """Write a checked copy of a catalog to ``target`` atomically and durably; ``add`` may write
    more into it. Raises :class:`CatalogError` or ``OSError``."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        copy_catalog(catalog, temporary)
        add(temporary)
        sync(target.parent)
        temporary.rename(target)
        sync(target.parent)
    finally:
        unlink(temporary)


def copy_catalog(source: Path, target: Path) -> None:
    """Write a checked snapshot of a catalog to ``target``, with mode 0640. Raises
    :class:`CatalogError`."""
    if not source.exists():
        raise CatalogError(f"{source}: no such file")

    target.touch(mode=0o640, exist_ok=False)
    try:
        with closing(connect_to_read(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        with closing(connect_to_read(target)) as connection:
            connection.execute("SELECT max(serial) FROM journal")
            (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        result = str(error)
    if result != "ok":
        raise CatalogError(f"{source}: cannot be copied: {result}")
