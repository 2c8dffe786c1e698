"""Inputs: files of requirements and locks, read into one form.

Not here: finding the files that satisfy them (`resolution`), reading an index (`upstream`).

:func:`reading.read` tells the kind of a file by its name and content, and returns a
:class:`demand.Demand`.
"""
