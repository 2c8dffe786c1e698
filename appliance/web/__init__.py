"""The falcon application: resources of a few lines each, and gunicorn with it.

Not here: what an index is and does (`index` to `operations`).
"""
