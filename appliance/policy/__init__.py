"""Policy: who may read an index and change what is in it, and which files may enter it.

Not here: who a client is (`accounts`), HTTP (`web`).

:mod:`rights` answers whether a principal has a right, from the lists of the spec. :mod:`rules` has
the rules for files as pure functions, :mod:`decision` asks them with what the catalog knows;
:mod:`retention` says which releases are no longer kept.
"""
