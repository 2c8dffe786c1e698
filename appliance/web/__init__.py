"""HTTP: the falcon application with its resources, and the gunicorn server and worker that run it.

:mod:`app` wires the resources, :mod:`server` runs them. Nothing here changes the catalog or the
published tree, and no page of the simple API is rendered here: :mod:`appliance.site` does that.
"""
