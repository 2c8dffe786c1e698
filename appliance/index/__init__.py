"""What an index is: names of files and projects, the values they are read into, core metadata, and
the interface of an index with its wrappers.

Not here: the catalog, directories, HTTP.
"""
