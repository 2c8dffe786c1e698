"""SQLite connections that report any damage as ``sqlite3.DatabaseError``."""

import sqlite3
from pathlib import Path
from typing import Any


class Cursor(sqlite3.Cursor):
    """Cursor that raises :class:`sqlite3.DatabaseError` for all damage to the file.

    SQLite's messages quote the file. Quotes and column names of a damaged file may not be UTF-8:
    Python then raises ``UnicodeDecodeError`` instead of the message.
    """

    def execute(self, *arguments: Any) -> "Cursor":
        try:
            super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise _malformed(error) from None
        return self

    def executemany(self, *arguments: Any) -> "Cursor":
        try:
            super().executemany(*arguments)
        except UnicodeDecodeError as error:
            raise _malformed(error) from None
        return self


class Connection(sqlite3.Connection):
    """Connection with such cursors."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> Cursor:
        return Cursor(self).execute(*arguments)


def connect_to_read(path: Path) -> Connection:
    """Open an existing file read-only."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, factory=Connection)


def _malformed(error: UnicodeDecodeError) -> sqlite3.DatabaseError:
    message = error.object.decode(errors="backslashreplace")
    return sqlite3.DatabaseError(message if "malformed" in message else f"malformed: {message}")
