"""XML-RPC: ``search``, for ``pip search``, and the methods that mirrors call.

Calls are parsed without DTD and entities.
"""

import re
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import falcon
from defusedxml import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser

from appliance.index.model import Project
from appliance.web import changelog
from appliance.web.connection import LARGEST_BODY
from appliance.web.login import Readable
from appliance.web.served import ServedIndex

_MAX_RESULTS = 100
_MAX_WORDS = 10
_MAX_LETTERS = 100
_SECONDS = 2.0  # for summaries; the projects found by then are the answer
_UNKNOWN_METHOD = -32601  # the fault codes that PyPI uses
_WRONG_PARAMETERS = -32500
XML_TYPES = ("text/xml", "application/xml")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_Method = Callable[[tuple[Any, ...], Readable], Iterable[str]]


class XmlRpc:
    """One index's XML-RPC endpoint."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._methods: dict[str | None, _Method] = {
            "search": self._search,
            "list_packages_with_serial": self._projects,
            "changelog_since_serial": self._changes,
            "changelog_last_serial": self._last,
        }

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if (req.content_type or "").partition(";")[0].strip().lower() not in XML_TYPES:
            raise falcon.HTTPUnsupportedMediaType(description="XML-RPC is posted as text/xml")

        readable = self._index.readable(req)
        method, parameters = _parse(_body(req))
        resp.content_type = "text/xml; charset=utf-8"
        self._index.keep_private(resp)
        try:
            if method not in self._methods:
                raise _unknown_method(method, self._methods)
            answer = iter(self._methods[method](parameters, readable))
            first = next(answer)  # an error is raised here, before anything is sent
        except xmlrpc.client.Fault as fault:
            resp.text = xmlrpc.client.dumps(fault, methodresponse=True)
        else:
            chunks = chain((first,), answer)
            resp.stream = (_NOT_XML.sub("\ufffd", chunk).encode() for chunk in chunks)

    def _search(self, parameters: tuple[Any, ...], readable: Readable) -> Iterable[str]:
        """``search``: the projects that match, the best first."""
        words = _words(parameters)
        projects = list(self._matching(words, readable)) if words else []

        hits = [
            {
                "_pypi_ordering": order,
                "name": project.display,
                "version": project.latest,
                "summary": project.summary or "",
            }
            for order, project in enumerate(projects)
            if project.latest is not None
        ]
        return [xmlrpc.client.dumps((hits,), methodresponse=True)]

    def _matching(self, words: list[str], readable: Readable) -> Iterator[Project]:
        """The projects that have all words, as many as can be read in time."""
        end = time.monotonic() + 2 * _SECONDS
        with self._index.catalog.read() as reader:
            for name in reader.search(self._index.lineage, words, _MAX_RESULTS, _SECONDS):
                project = self._index.using(reader).project(name) if readable(name) else None
                if project is not None:
                    yield project
                if time.monotonic() > end:
                    return

    def _projects(self, parameters: tuple[Any, ...], readable: Readable) -> Iterable[str]:
        self._index.completeness.check()  # a mirror deletes projects that are not listed
        is_shown = self._shown(readable)
        return changelog.projects(self._index.catalog, self._index.lineage, is_shown)

    def _changes(self, parameters: tuple[Any, ...], readable: Readable) -> Iterable[str]:
        if len(parameters) != 1 or type(parameters[0]) is not int:
            raise xmlrpc.client.Fault(_WRONG_PARAMETERS, "changelog_since_serial expects a serial")
        self._index.completeness.check()
        lineage, is_shown = self._index.lineage, self._shown(readable)
        return changelog.changes(self._index.catalog, lineage, parameters[0], is_shown)

    def _shown(self, readable: Readable) -> changelog.Shown:
        """Which projects of the lineage the client may know of: those that pages may show it."""
        return lambda index, project: self._index.may_show(index, project) and readable(project)

    def _last(self, parameters: tuple[Any, ...], readable: Readable) -> Iterable[str]:
        self._index.completeness.check()
        with self._index.catalog.read() as reader:
            return [xmlrpc.client.dumps((reader.mark("pages"),), methodresponse=True)]


def _unknown_method(method: str | None, methods: Iterable[str | None]) -> xmlrpc.client.Fault:
    known = ", ".join(map(str, methods))
    text = f"no method {str(method)[:_MAX_LETTERS]!r}; call one of: {known}"
    return xmlrpc.client.Fault(_UNKNOWN_METHOD, text)


def _body(req: falcon.Request) -> bytes:
    """The body, which the worker has received in full (see :mod:`appliance.web.connection`)."""
    length = req.content_length
    if length is None:
        raise falcon.HTTPLengthRequired(description="XML-RPC is posted with a Content-Length")
    if length > LARGEST_BODY:
        raise falcon.HTTPContentTooLarge(description=f"a call fits in {LARGEST_BODY} bytes")
    body: bytes = req.bounded_stream.read(length)
    return body


def _parse(body: bytes) -> tuple[str | None, tuple[Any, ...]]:
    """Method and parameters of an XML-RPC call."""
    target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    parser = DefusedExpatParser(target, forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
        return target.getmethodname(), tuple(target.close())
    except DefusedXmlException as error:
        raise falcon.HTTPBadRequest(description="XML with a DTD or entities is rejected") from error
    except Exception as error:  # any error of the parser is the client's
        raise falcon.HTTPBadRequest(description=f"not an XML-RPC call: {error}"[:500]) from error


def _words(parameters: tuple[Any, ...]) -> list[str]:
    """All words of ``search({"name": ..., "summary": ...}, "or")``, each once."""
    spec = parameters[0] if parameters else None
    if not isinstance(spec, dict):
        raise xmlrpc.client.Fault(_WRONG_PARAMETERS, "search expects a struct of name and summary")

    values = [spec.get(key) for key in ("name", "summary")]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    words = list(dict.fromkeys(" ".join(text for text in texts if isinstance(text, str)).split()))
    if len(words) > _MAX_WORDS or any(len(word) > _MAX_LETTERS for word in words):
        text = f"search expects at most {_MAX_WORDS} words of at most {_MAX_LETTERS} letters"
        raise xmlrpc.client.Fault(_WRONG_PARAMETERS, text)
    return words
