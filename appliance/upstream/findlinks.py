"""Find-links: package files, and directories and pages with links to some, as of pip."""

import contextlib

from appliance.index.names import possible
from appliance.upstream import pages, urls
from appliance.upstream.model import RemoteFile

_PAGES = (".html", ".htm")


def of_project(files: tuple[RemoteFile, ...], name: str) -> tuple[RemoteFile, ...]:
    """Those of ``files`` that may belong to the project, by their names."""
    return tuple(file for file in files if name in possible(file.filename))


def local(url: str) -> tuple[RemoteFile, ...]:
    """The files of a ``file:`` URL: that file, the files in that directory, or the links of that
    page. Raises OSError."""
    path = urls.path(url)
    assert path is not None
    if path.is_dir():
        return tuple(_file(each.as_uri(), url) for each in sorted(path.iterdir()))
    if path.suffix.lower() in _PAGES:
        return pages.links(path.read_bytes(), "text/html", url)
    path.stat()
    return (_file(url, url),)


def single(url: str) -> tuple[RemoteFile, ...]:
    """The file at ``url``, if its name is one of a package file."""
    return (_file(url, url),) if possible(urls.filename(url)) else ()


def changed(file: RemoteFile) -> tuple[int, int] | None:
    """Size and mtime of a local file, which change with it; ``None`` for any other file."""
    path = urls.path(file.url)
    with contextlib.suppress(OSError):
        if path is not None:
            status = path.stat()
            return status.st_size, status.st_mtime_ns
    return None


def _file(url: str, source: str) -> RemoteFile:
    return RemoteFile(urls.filename(url), url, index=source)
