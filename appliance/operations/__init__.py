"""Operations of the watcher and the operator on the indexes of a spec, from packages directories to
published pages: watch, decide, rebuild, back up, verify, prune, report health.

Not here: HTTP (`web`), options and output of commands (`cli`).

:mod:`watch` watches all indexes, each a :mod:`watched` one, under :mod:`watchlock`; :mod:`update`
scans and publishes, :mod:`repair` rewrites missing pages. Problems: :mod:`health` reports those of
catalog and state for `/health` and :mod:`status`; :mod:`watcher_problems` and :mod:`report` carry
those that only the watcher sees. :mod:`decisions` yanks, removes (to the :mod:`trash`) and sets
statuses. :mod:`opening` opens or recovers the catalog; :mod:`rebuild`, :mod:`restore`,
:mod:`backup` and :mod:`replace` replace it; :mod:`verify` compares all; :mod:`prune` deletes old
data.
"""
