"""Mirror: plan what a demand needs, and fetch it into a packages directory.

Not here: reading inputs (`inputs`), resolving (`resolution`), HTTP (`upstream`).
"""
