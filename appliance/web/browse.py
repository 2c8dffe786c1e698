"""Pages for browsers: the home page of an index, and the list of its files."""

from collections.abc import Iterator
from html import escape
from urllib.parse import quote, urlsplit

import falcon
import jinja2

from appliance.index.index import Counts
from appliance.index.model import File
from appliance.render.clients import CLIENT, is_secure, of_one_index, settings
from appliance.site.pages import file_url
from appliance.web import address
from appliance.web.login import Readable
from appliance.web.served import ServedIndex
from appliance.web.uploads import UploadForm, is_form
from appliance.web.xmlrpc import XmlRpc

_FILES_A_PAGE = 5_000
_FILES_AT_A_TIME = 1_000

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("appliance.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Home:
    """The home page of an index: its counts, and settings for clients."""

    def __init__(self, index: ServedIndex, search: XmlRpc, form: UploadForm) -> None:
        self._index, self._search, self._form = index, search, form
        self._client_spec = of_one_index(index.spec, index.name) if index.prefix else index.spec
        self._counted: tuple[int, Counts] | None = None

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """`pip search` and upload clients post to an index URL without a path."""
        (self._form if is_form(req) else self._search).on_post(req, resp)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        if req.get_param(":action") is not None:  # flit asks for the classifiers
            self._form.on_get(req, resp)
            return
        self._index.readable(req)
        spec, counts = self._index.spec, self._counts()
        base = f"{address.base(spec, req)}/{self._index.prefix}"
        url = base.removesuffix("/")

        resp.content_type = falcon.MEDIA_HTML
        self._index.keep_private(resp)
        resp.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        resp.text = _templates.get_template("home.html").render(
            name=spec.name,
            index=self._index.name,
            others=self._others(req),
            counts=counts,
            base=base,
            host=urlsplit(base).hostname,
            secure=is_secure(base),
            source=self._client_spec.name,
            settings={name: settings(self._client_spec, name, url) for name in CLIENT},
        )

    on_head = on_get

    def _others(self, req: falcon.Request) -> list[str]:
        """The other indexes that the client may read."""
        login = self._index.login
        others = [name for name in self._index.spec.indexes if name != self._index.name]
        if not all(map(login.rights.is_open, others)):
            principal = login.principal(req)
            others = [name for name in others if login.has(principal, "read", name)]
        return others

    def _counts(self) -> Counts | None:
        """The number of projects and files, ``None`` where it would reveal hidden ones; counted
        once for each serial, as it takes long."""
        if self._index.is_by_project:
            return None
        with self._index.catalog.read() as reader:
            serial = reader.serial()
            if self._counted is None or self._counted[0] != serial:
                self._counted = serial, self._index.open(reader).counts()
        return self._counted[1]


class Packages:
    """``/packages/``: the files that an index offers, by path, ``files`` of them a page.

    pip reads the first page too (``--find-links``).
    """

    def __init__(self, index: ServedIndex, files: int = _FILES_A_PAGE) -> None:
        self._index, self._files = index, files

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        readable = self._index.readable(req)
        self._index.completeness.check()
        self._index.keep_private(resp)
        resp.content_type = falcon.MEDIA_HTML
        resp.stream = self._page(req.get_param("after") or "", readable)

    on_head = on_get

    def _page(self, after: str, readable: Readable) -> Iterator[bytes]:
        """The page in chunks of a thousand files, which cost little memory."""
        yield b'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        yield b"<title>All files</title></head>\n<body>\n<h1>All files</h1>\n"

        remaining = self._files
        for files in self._offered(after, readable):
            if shown := files[:remaining]:
                yield "".join(map(_line, shown)).encode()
                after, remaining = shown[-1].path, remaining - len(shown)
            if len(shown) < len(files):
                yield f'<p><a href="?after={quote(after, safe="")}">More files</a></p>\n'.encode()
                break
        yield b"</body></html>\n"

    def _offered(self, after: str, readable: Readable) -> Iterator[list[File]]:
        """Yield the readable files after the path ``after``, some at a time."""
        most = min(self._files, _FILES_AT_A_TIME)
        while files := self._read(after, most):
            after = files[-1].path
            if shown := [file for file in files if readable(file.project)]:
                yield shown

    def _read(self, after: str, most: int) -> list[File]:
        with self._index.catalog.read() as reader:
            return self._index.open(reader).files(after, most)


def _line(file: File) -> str:
    """A link to the file, with the attributes that make an installer skip it (PEP 503, PEP 592)."""
    attributes = {"requires-python": file.requires_python, "yanked": file.yanked}
    data = "".join(f' data-{k}="{escape(v)}"' for k, v in attributes.items() if v is not None)
    link = f"{escape(file_url('', file))}#sha256={file.sha256}"
    return f'<a href="{link}"{data}>{escape(file.path)}</a><br>\n'
