"""The catalog: what is known of package files and projects, what was decided about them, and the
journal of both. No package file is read here, and nothing is published."""
