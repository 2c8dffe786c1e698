"""Inputs: files of requirements and locks, read into one form.

Not here: finding the files that satisfy them (`resolution`), reading an index (`upstream`).

:func:`reading.read` tells the kind of a file by its name and content, and returns a
:class:`demand.Demand`. :mod:`requirements` and the modules it calls follow pip, a module for each
other tool the tool. Its locks select releases for a target when asked for ``pins``;
:mod:`pinning` has what they share. :mod:`rewrite` changes the URLs of locks.
"""
