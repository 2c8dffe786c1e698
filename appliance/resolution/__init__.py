"""Resolution: which files satisfy a demand on a target.

Not here: reading inputs (`inputs`), HTTP (`upstream`), fetching (`mirror`).
"""
