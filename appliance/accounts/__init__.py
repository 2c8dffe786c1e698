"""Accounts: who a client is. Passwords in htpasswd files, tokens, and limits to guessing.

Not here: what an account may do (`policy`), HTTP (`web`).

:mod:`htpasswd` verifies one password, :mod:`throttle` counts failures, and :mod:`passwords` uses
both and remembers results for a short time. :mod:`tokens` has the token files, and :mod:`principal`
the result of a login.
"""
