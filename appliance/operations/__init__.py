"""What the watcher and the operator do with the indexes of a spec, from their packages directories
to their pages: each module is one operation. No HTTP, no command line."""
