"""Uploads: files that upload clients send, from the bytes of a form to published pages.

Not here: HTTP and authentication (`web`), reading archives (`incoming`), rules of an index
(`policy`).

:mod:`form` parses the bodies that clients send, as they arrive. :mod:`spool` writes the file of an
upload to a hidden directory of the packages directory. :mod:`checks` compares form and file.
:mod:`receive` is one upload: it puts these together. :mod:`commit` places files, adds them to the
catalog and publishes them, for many uploads in one step. :mod:`refused` has the error for clients.
"""
