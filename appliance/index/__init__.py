"""What an index is: names, files, catalog, pages. No HTTP, no command line."""
