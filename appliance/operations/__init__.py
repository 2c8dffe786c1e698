"""Operations of the watcher and the operator on the indexes of a spec, from packages directories to
published pages: watch, decide, rebuild, back up, verify, prune, report health.

Not here: HTTP (`web`), options and output of commands (`cli`).
"""
