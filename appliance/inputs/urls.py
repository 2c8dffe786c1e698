"""Parts of the URLs of requirements."""

import re
from urllib.parse import unquote

_AROUND_PATH = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(?://[^/?#]*)?|[?#].*")


def filename_of(url: str) -> str:
    """The decoded name of the file at ``url``."""
    return url_path(url).rpartition("/")[2]


def url_path(url: str) -> str:
    """The decoded path of a URL, also of one with an invalid host."""
    return unquote(_AROUND_PATH.sub("", url))
