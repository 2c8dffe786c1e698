"""From a packages directory to the catalog: files are found, examined in processes with limits,
and accepted or rejected.

Not here: writing the published tree (`site`), deciding when to scan (`operations`).

A :class:`Scanner` of :mod:`scan` brings the catalog up to a :mod:`directory`, whose :mod:`entries`
may be package files: :mod:`comparison` finds what is new or gone, :mod:`postponed` what is examined
later, :mod:`deletions` with :mod:`mounts` what is not taken for a deletion; :mod:`signatures` go
with their files. What is new goes through :mod:`intake`, which has it examined by :mod:`examine` in
:mod:`processes`. These run :mod:`examiner`, which answers in :mod:`protocol`, opens files
:mod:`beneath` a directory and reads an :mod:`archive` by :mod:`zips` and :mod:`tars`; what comes of
each file is one of :mod:`outcomes`. :mod:`events` reports changes as the system sees them.
"""
