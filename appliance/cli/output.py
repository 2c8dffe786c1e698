"""What commands print: JSON documents, errors and logs."""

import contextlib
import json
import sys

from appliance.text import printable


def print_json(value: object) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps(value, indent=2))


def print_error(text: str) -> None:
    """Print each line of an error to standard error."""
    with contextlib.suppress(OSError):  # standard error may be a file on the disk that is full
        for line in text.splitlines():
            print(f"pyindex: {printable(line)}", file=sys.stderr)
