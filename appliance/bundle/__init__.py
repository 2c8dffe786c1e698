"""Bundles: files of an index in one signed archive, and loading them into another index.

Not here: which files a demand needs (`resolution`, `mirror`).
"""
