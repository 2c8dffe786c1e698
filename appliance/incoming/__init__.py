"""From a packages directory to the catalog: files found, examined within limits, accepted or
rejected. Nothing is published here."""
