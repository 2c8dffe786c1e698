"""The falcon application: resources of a few lines each."""
