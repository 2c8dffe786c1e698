"""An index as values: file names and what they say, projects and files, core metadata, and the
interface of an index with its wrappers.

Not here: the catalog (`catalog`), directories (`incoming`), HTTP (`web`).
"""
