"""The failures that are expected and can be explained: one small family.

The command line prints one as a line and exits 1; the web edge maps the class to a status.
Anything else that is raised is a bug and keeps its traceback.
"""


class PyindexError(Exception):
    """Says what went wrong, where, and what to do."""


class SpecError(PyindexError):
    """The spec cannot be used; ``problems`` holds one sentence for each fault found."""

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
