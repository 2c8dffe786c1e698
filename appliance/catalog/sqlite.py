"""SQLite files as we open them."""

import sqlite3
from pathlib import Path
from typing import Any


class Cursor(sqlite3.Cursor):
    """One that raises :class:`sqlite3.DatabaseError` for whatever is wrong with the file.

    SQLite's messages quote the file. Where that is damaged they need not be UTF-8, and neither need
    the names of columns: Python raises ``UnicodeDecodeError`` then, and tells nothing of them.
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
    """One with such cursors."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> Cursor:
        return Cursor(self).execute(*arguments)


def connect_to_read(path: Path) -> Connection:
    """A file that must be there, and is not changed."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, factory=Connection)


def _malformed(error: UnicodeDecodeError) -> sqlite3.DatabaseError:
    words = error.object.decode(errors="backslashreplace")
    return sqlite3.DatabaseError(words if "malformed" in words else f"malformed: {words}")
