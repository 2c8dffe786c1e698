"""Copies of tokens in backups: a table that the catalog itself does not have."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from appliance.accounts.tokens import Tokens
from appliance.catalog.sqlite import connect_to_read
from appliance.spec import Spec
from appliance.text import counted


def save(tokens: Path, copy: Path) -> None:
    """Add the tokens in a directory to a copy of the catalog. Raises ``OSError`` and
    ``sqlite3.DatabaseError``."""
    rows = []
    for path in sorted(tokens.glob("*.json")):
        with contextlib.suppress(FileNotFoundError):  # revoked meanwhile
            rows.append((path.stem, path.read_bytes()))
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("CREATE TABLE token (id TEXT PRIMARY KEY, content BLOB NOT NULL)")
        connection.executemany("INSERT INTO token VALUES (?, ?)", rows)


def restore(spec: Spec, copy: Path) -> Iterator[str]:
    """Restore the tokens of a backup where the directory of tokens is lost. Otherwise it stays: a
    token that was revoked since the backup must not return. Yields a message."""
    with closing(connect_to_read(copy)) as connection:
        try:
            rows = connection.execute("SELECT id, content FROM token").fetchall()
        except sqlite3.DatabaseError:  # a backup by an older release
            return
    if not rows:
        return
    if spec.tokens.exists():
        yield f"tokens: kept those in {spec.tokens}, not those of the backup"
        return
    Tokens(spec.tokens).restore(rows)
    yield f"restored {counted(len(rows), 'token')}"
