"""HTTP: the falcon application with its resources, the gunicorn server and worker that run it, and
the watcher's process beside it.

Not here: changes of the catalog (`operations`), rendering of the simple API's pages (`site`).

:mod:`app` wires the resources; :mod:`server` runs them.
"""
