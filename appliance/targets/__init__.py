"""Targets: the Pythons and platforms that files are collected for, with their tags and markers.

Not here: choosing files for a target (`resolution`).

A :class:`target.Target` is a value; nothing in it comes from the interpreter that runs.
"""
