"""The catalog's tables, and how to open the file that holds them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert  # PostgreSQL's has the same form

_BUSY_SECONDS = 60

metadata = sa.MetaData()
file = sa.Table(
    "file",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("python_version", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("inode", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("md5", sa.Text, nullable=False),
    sa.Column("blake2b_256", sa.Text, nullable=False),
    sa.Column("upload_time", sa.BigInteger, nullable=False),
    sa.Column("requires_python", sa.Text),
    sa.Column("summary", sa.Text),
    sa.Column("core_metadata", sa.Text),
    sa.Column("signature", sa.Boolean, nullable=False),
    sa.UniqueConstraint("index", "filename"),
    sa.Index("file_by_project", "index", "project"),
)
project = sa.Table(
    "project",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("display", sa.Text, nullable=False),
    sa.Column("serial", sa.BigInteger, nullable=False),
    sa.Column("files", sa.Integer, nullable=False),  # refused ones that claim it included
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Index("project_by_serial", "serial"),
)
# Decisions outlive the files they are about: a file that comes back is still yanked.
yank = sa.Table(
    "yank",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
)
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("serial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("index", sa.Text, nullable=False),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("path", sa.Text),
    sa.Column("filename", sa.Text),
    sa.Column("version", sa.Text),
    sa.Column("detail", sa.Text),
)
refused = sa.Table(
    "refused",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("inode", sa.BigInteger, nullable=False),
)
# A refused file takes no project away from its index: a base must not answer for it meanwhile.
claim = sa.Table(
    "claim",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Index("claim_by_project", "index", "project"),
)
mark = sa.Table(
    "mark",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)


def open_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: list[dict[str, Any]],
    update: Iterable[str] | None = None,
) -> None:
    """Insert rows; where the key is there already, set the columns ``update`` (all, if None)."""
    if not rows:
        return
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    names = update or [name for name in rows[0] if name not in keys]
    values = {name: statement.excluded[name] for name in names}
    connection.execute(statement.on_conflict_do_update(keys, set_=values), rows)
