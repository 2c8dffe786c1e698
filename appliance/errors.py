"""Expected failures: a small family of exceptions.

The command line prints one as a message and exits with 1; the web edge maps its class to a status.
Any other exception is a bug and keeps its traceback.
"""


class PyindexError(Exception):
    """Expected failure; the text says where, what is wrong and what to do."""


class SpecError(PyindexError):
    """The spec cannot be used; ``problems`` has one message for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Rejected(PyindexError):
    """A file cannot be accepted; the text is the reason that ``pyindex status`` shows."""


class NotFound(PyindexError):
    """No such index, project, release or file."""


class Unscanned(PyindexError):
    """An index is being scanned for the first time; clients retry after ``retry_seconds``."""

    retry_seconds = 5


# The HTTP status of a class, and of those derived from it.
STATUSES: dict[type[PyindexError], int] = {PyindexError: 503, NotFound: 404, Unscanned: 503}
