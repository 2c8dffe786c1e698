"""The catalog's tables, their migrations, and the engine that opens the file.

A catalog of an older version is migrated in place, see :func:`migrate`. An added table, index or
column (NULL or with a ``server_default``) needs a higher :data:`VERSION`; updates of older rows
are in ``_RENEW``. Nothing is ever renamed or dropped, so that an older release can still use the
catalog after a roll back.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import Insert, insert  # PostgreSQL's has the same form

from appliance.catalog.sqlite import Connection
from appliance.index.model import Code

VERSION = 5  # of the tables, as PRAGMA user_version; 0: before versions were numbered
# A page's mtime carries its serial, whose digits fit into it below this number.
SERIALS = 80_000_000
_BUSY_SECONDS = 60

metadata = sa.MetaData()
# Its columns but `index` and `doubted` are the fields of `appliance.index.model.File`. The examiner
# fills them (`appliance.incoming.examiner`), and `appliance.incoming.protocol` checks them.
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
    # Set if the file is to be examined again whatever its stat, and may have another content.
    sa.Column("doubted", sa.Boolean),
    sa.Column("provenance", sa.Boolean, server_default=sa.false()),
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
    sa.Column("files", sa.Integer, nullable=False),  # rejected ones that claim it included
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_reason", sa.Text),
    sa.Index("project_by_serial", "serial"),
)
# Decisions outlive their files: a file that returns is still yanked.
yank = sa.Table(
    "yank",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
)
# Origins outlive their files, too. The columns but `index` are the fields of
# `appliance.index.model.Origin`.
origin = sa.Table(
    "origin",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False, server_default=""),
    sa.Column("upstream", sa.Text),
    sa.Column("yanked", sa.Text),
    sa.Column("provenance", sa.Text),
)
# A project belongs to the account that uploads its first file, or to the token without an account
# (``token:NAME``). Like yanks, owners outlive files.
owner = sa.Table(
    "owner",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False, server_default=""),
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
    # Who made the change, and from which address; NULL if not known, as of a dropped file.
    sa.Column("actor", sa.Text),
    sa.Column("address", sa.Text),
)
# Names of removed files, with the digest of their last content: other content under such a name
# would break the locks of clients.
used = sa.Table(
    "used",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
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
    # Of a file altered without a change of its stat: the digest it must have to be accepted again.
    sa.Column("sha256", sa.Text),
    # The reason as a code (see model.Code), and whether to examine an unchanged file again.
    # Both are NULL in rows of older releases: these are examined again.
    sa.Column("code", sa.Text),
    sa.Column("retry", sa.Boolean),
)
# A rejected file claims its project: no base may answer for it meanwhile.
claim = sa.Table(
    "claim",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Index("claim_by_project", "index", "project"),
)
# A rejected name that splits in several ways may belong to several projects: all but the first are
# here, and those of unreachable files.
further_claim = sa.Table(
    "further_claim",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Index("further_claim_by_project", "index", "project"),
)
# Unreachable files: published by an older catalog, behind a link that replaced a directory, or
# still being copied. No base answers for their projects; other files of their names are duplicates.
unreachable = sa.Table(
    "unseen",
    metadata,
    sa.Column("index", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Index("unseen_by_name", "index", "filename"),
)
mark = sa.Table(
    "mark",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

# The values of these columns for rows before version 3.
_DOUBTED = -1
_CODE = sa.case(
    (refused.c.reason.startswith("duplicate: "), Code.DUPLICATE.value),
    (refused.c.sha256.is_not(None), Code.ALTERED.value),
    (refused.c.inode == -2, Code.KILLED.value),
    (refused.c.inode == _DOUBTED, Code.UNREADABLE.value),
    else_=Code.INVALID.value,
)

_last_removals = (
    sa.select(sa.func.max(journal.c.serial))
    .where(journal.c.action == "removed", journal.c.filename.is_not(None))
    .where(journal.c.detail.is_not(None))
    .group_by(journal.c.index, journal.c.filename)
)
_REMOVED = sa.select(journal.c.index, journal.c.filename, journal.c.detail).where(
    journal.c.serial.in_(_last_removals)
)

# Changes of rows written before a version, by that version.
_RENEW: dict[int, list[sa.Update | sa.Insert]] = {
    # Rejected files are examined once more, for their claims.
    2: [sa.update(refused).where(refused.c.sha256.is_(None)).values(inode=_DOUBTED)],
    3: [
        sa.update(refused).values(code=_CODE, retry=refused.c.inode < 0),
        sa.update(file).where(file.c.inode < 0).values(doubted=True),
    ],
    5: [
        insert(used).from_select(["index", "filename", "sha256"], _REMOVED).on_conflict_do_nothing()
    ],
}


def open_engine(path: Path, read_only: bool = False, immutable: bool = False) -> sa.Engine:
    """Return an engine of the database at ``path``. An ``immutable`` one, which no process has open
    for writing, needs no companion files (sqlite.org/wal.html, "Read-Only Databases")."""
    url = sa.URL.create("sqlite", database=str(path))
    if read_only:
        query = {"uri": "true", "mode": "ro"} | ({"immutable": "1"} if immutable else {})
        url = sa.URL.create("sqlite", database=path.absolute().as_uri(), query=query)
    engine = sa.create_engine(
        url,
        connect_args={
            "timeout": _BUSY_SECONDS,
            "check_same_thread": False,
            "factory": Connection,
        },
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin explicitly
        if read_only:
            return
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine


def migrate(connection: sa.Connection, create: bool = False) -> None:
    """Migrate a catalog of an older version; with ``create`` also fill an empty file.

    Call it in a transaction that may write: it applies atomically.
    """
    before = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if before >= VERSION:
        return
    if not create and not sa.inspect(connection).has_table(journal.name):
        return

    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        _add_columns(connection, table)
        for index in table.indexes:
            index.create(connection, checkfirst=True)

    for version, statements in _RENEW.items():
        for statement in statements if before < version else ():
            connection.execute(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _add_columns(connection: sa.Connection, table: sa.Table) -> None:
    """Add the columns that a table of an older version lacks."""
    present = {row[1] for row in connection.exec_driver_sql(f'PRAGMA table_info("{table.name}")')}
    for column in table.columns:
        if column.name not in present:
            clause = sa.schema.CreateColumn(column).compile(connection)
            connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {clause}')


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: list[dict[str, Any]],
    update: Iterable[str] | None = None,
) -> None:
    """Insert rows; where the key exists, set the columns ``update`` (all, if ``None``)."""
    if rows:
        names = update or [name for name in rows[0] if name not in table.primary_key.columns]
        connection.execute(_upsert(table, tuple(names)), rows)


@cache
def _upsert(table: sa.Table, names: tuple[str, ...]) -> Insert:
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(keys, set_=values)
