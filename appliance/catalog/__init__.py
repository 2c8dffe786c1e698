"""The catalog, an SQLite database: facts about package files and projects, decisions about them,
and the journal of both.

Not here: reading package files (`incoming`), writing the published tree (`site`).

:mod:`schema` has the tables and their migrations, :mod:`database` the connections and transactions.
Queries are methods of the :class:`Reader`, composed by subject of :mod:`projects`, :mod:`search`,
:mod:`inventory` and :mod:`journal`; changes are methods of the :class:`Writer`, composed of
:mod:`files`, :mod:`rejections` and :mod:`decisions` over :mod:`recorder`, which writes the journal.
:mod:`indexes` builds the indexes of a spec from a reader; :mod:`metadata` keeps core metadata of
files until it is published.
"""
