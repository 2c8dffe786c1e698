"""The published tree `<state>/www`: pages, markers, metadata, and notes about the tree itself. No
other package writes it.

Not here: HTTP (`web`), when to publish (`operations`).

:mod:`publish` updates the tree under the lock `publish.lock`: :mod:`projects` writes pages that
:mod:`pages` renders, :mod:`files` markers and metadata, which it moves from and back to
`<state>/metadata`, :mod:`digests` links to the markers, :mod:`views` exchanges complete views,
:mod:`layout` notes the spec. :mod:`tree` has all paths, :mod:`compare` finds differences from the
catalog.
"""
