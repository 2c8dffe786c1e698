"""From the catalog to what clients download: pages, markers and metadata below `<state>/www`,
which no other package writes.

Not here: HTTP (`web`), when to publish (`operations`).
"""
