"""Policy: which files may enter an index.

Not here: who may change an index (`accounts`), HTTP (`web`).

:mod:`rules` has the rules as pure functions, :mod:`decision` asks them with what the catalog knows.
"""
