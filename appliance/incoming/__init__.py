"""From a packages directory to the catalog: files are found, examined in processes with limits,
and accepted or rejected.

Not here: writing the published tree (`site`), deciding when to scan (`operations`).

A :class:`Scanner` of :mod:`scan` brings the catalog up to a :mod:`directory`: :mod:`comparison` finds
what is new or gone, :mod:`postponed` what is examined later, :mod:`deletions` (with :mod:`mounts`)
what is not taken for a deletion; :mod:`signatures` go with their files. What is new goes through
:mod:`intake`. It has it examined by :mod:`examine` in :mod:`processes`, which run :mod:`examiner`,
speak :mod:`protocol` and read an :mod:`archive` (:mod:`zips`, :mod:`tars`); each file has one of the
:mod:`outcomes`. :mod:`events` tells of changes as the system sees them.
"""
