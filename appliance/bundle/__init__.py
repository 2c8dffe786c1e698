"""Bundles: files of an index in one signed archive, and loading them into another index.

Not here: which files a demand needs (`resolution`, `mirror`); making files visible together
(`operations.arrival`).

:mod:`write` makes a bundle: a :mod:`manifest` and files in a tar archive (:mod:`tar`), cut into
:mod:`volumes`, signed as minisign does (:mod:`minisign`). :mod:`load` takes one from :mod:`read`,
or a bare :mod:`folder`, and leaves a receipt (:mod:`receipts`). :mod:`tokens` says what an index
has, so that the next bundle can leave that out (:mod:`since`).

:mod:`placement` is the part of a load that :mod:`promotion` of a release from another index and the
return of :mod:`trashed` files share.

docs/reference/bundle-format.md describes the format.
"""
