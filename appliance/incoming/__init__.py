"""From a packages directory to the catalog: files are found, examined in processes with limits,
and accepted or rejected.

Not here: writing the published tree (`site`), deciding when to scan (`operations`).
"""
