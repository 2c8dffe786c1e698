"""From the catalog to what readers see: pages, markers and metadata below ``<state>/www``, which
nothing else writes."""
