"""A private Python package index."""
