"""Accounts: who a client is. Passwords in htpasswd files, tokens, and limits to guessing.

Not here: what an account may do (`policy`), HTTP (`web`).

:mod:`htpasswd` verifies one password, :mod:`throttle` counts failures, and :mod:`passwords` has both
with a short memory of results. :mod:`tokens` has the token files, and :mod:`principal` their result.
"""
