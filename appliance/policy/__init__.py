"""Policy: who may read an index, and change what is in it.

Not here: who a client is (`accounts`), HTTP (`web`).

:mod:`rights` answers whether a principal has a right, from the lists of the spec.
"""
