"""Targets: the Pythons and platforms that files are collected for, with their tags and markers.

Not here: choosing files for a target (`resolution`).

A :class:`target.Target` is a value; nothing in it comes from the interpreter that runs.
From the lowest: :mod:`target`, :mod:`interpreters` and :mod:`platforms` read the two halves of
``cp311-manylinux2014_x86_64``, :mod:`presets` has names for such texts, :mod:`environments` and
:mod:`tags` make markers and tags of both. :mod:`facts` checks what :mod:`probe`, a script for any
Python, prints; :mod:`asking` runs it here or over ssh, and :mod:`answers` remembers hosts.
:mod:`reading` makes a target of any text, and :mod:`choice` those of a command or of a spec.
"""
