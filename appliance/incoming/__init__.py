"""From a packages directory to the catalog: files are listed, examined in processes with limits,
and accepted or rejected.

Not here: writing the published tree (`site`), deciding when to scan (`operations`).

The :class:`Scanner` of :mod:`scan` updates the catalog from a :mod:`directory` with its
:mod:`entries`. :mod:`comparison` lists new and missing files. :mod:`postponed` delays files that
are still being written; :mod:`deletions` and :mod:`mounts` decide which missing files were deleted;
:mod:`signatures` matches signatures with files. :mod:`events` reports changed paths.

New files go through :mod:`intake`, which calls :mod:`examine`. That runs :mod:`examiner` in
:mod:`processes`, and exchanges work and answers by :mod:`protocol`. The examiner opens files with
:mod:`beneath`, and reads them with :mod:`inspection`: its modules are :mod:`archive`, :mod:`zips`
and :mod:`tars` for metadata, and :mod:`agreement` for its comparison with the file name. The result
for each file is one of :mod:`outcomes`.
"""
