"""Messages about pages of indexes that clients cannot read."""

from pydantic import ValidationError

from appliance.spec.faults import dotted, quoted
from appliance.text import printable
from appliance.upstream import urls
from appliance.upstream.failures import UpstreamError


def error_at(url: str, problem: str) -> UpstreamError:
    """The error about the page at ``url``."""
    return UpstreamError(f"{urls.redacted(url)}: {problem}; check the URL of the index")


def check_version(version: str, url: str) -> None:
    """Raise :class:`UpstreamError` for a version of the simple API other than 1.x (PEP 629)."""
    if version.partition(".")[0] != "1":
        raise error_at(url, f"expected version 1.x of the simple API, got {quoted(version)}")


def link(base: str, target: str) -> str:
    """The URL of a link on the page ``base``. Raises :class:`UpstreamError` if it is none."""
    try:
        return urls.absolute(base, target)
    except ValueError as error:
        raise error_at(base, f"expected a link to {error}, got {quoted(target)}") from None


def problem_of(invalid: ValidationError, page: str) -> str:
    """The first error of pydantic about a ``page`` as a sentence."""
    error = invalid.errors(include_url=False)[0]
    key = dotted(tuple(step for step in error["loc"] if not _is_branch(step)))
    message = error["msg"].replace("Input should be", "expected")
    if error["type"] == "missing":
        message = "missing"
    elif message.startswith("expected"):
        message += f", got {quoted(error['input'])}"
    return printable(f"not {page}: {key}: {message}" if key else f"not JSON: {message}")


def _is_branch(step: int | str) -> bool:
    """Whether pydantic names a member of a union there."""
    return step in ("bool", "str", "int") or (isinstance(step, str) and step.startswith("dict["))
