"""What an index is: names of files and projects, the values that they are read into, and core
metadata. No catalog, no directory, no HTTP."""
