"""The log of the server and of commands, on standard error: lines, or a JSON object a line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

Form = Literal["lines", "json"]
# Without a time: journald adds it.
_LINES = "%(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """Formatter of a record as a JSON object in one line: ``time`` (RFC 3339, UTC), ``level``,
    ``logger``, ``message``, ``process`` (its id), and ``error``, a traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            values["error"] = self.formatException(record.exc_info)
        return json.dumps(values)


def formatter(form: Form) -> logging.Formatter:
    """Return the formatter of the log in this form."""
    return JsonFormatter() if form == "json" else logging.Formatter(_LINES)


def to_stderr(form: Form = "lines") -> None:
    """Log to standard error, from now on in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
