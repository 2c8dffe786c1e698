"""Upstreams: remote indexes, their project pages, core metadata and files, over HTTP.

Not here: which files are wanted (`resolution`), taking them into an index (`mirror`).
"""
