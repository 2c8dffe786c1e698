"""XML-RPC: ``search``, which ``pip search`` speaks, and what mirrors ask. XML from outside is read
without entities."""

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
from appliance.web.served import ServedIndex
from appliance.web.connection import LARGEST_BODY

_MAX_RESULTS = 100
_MAX_WORDS = 10
_MAX_LETTERS = 100
_SECONDS = 2.0  # for summaries; whatever was found by then is the answer
_UNKNOWN_METHOD = -32601  # the fault codes that PyPI uses
_WRONG_PARAMETERS = -32500
XML_TYPES = ("text/xml", "application/xml")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class XmlRpc:
    """One index's XML-RPC endpoint."""

    def __init__(self, index: ServedIndex) -> None:
        self._index = index
        self._methods: dict[str | None, Callable[[tuple[Any, ...]], Iterable[str]]] = {
            "search": self._search,
            "list_packages_with_serial": self._projects,
            "changelog_since_serial": self._changes,
            "changelog_last_serial": self._last,
        }

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if (req.content_type or "").partition(";")[0].strip().lower() not in XML_TYPES:
            raise falcon.HTTPUnsupportedMediaType(description="XML-RPC is posted as text/xml")
        method, parameters = _call(_body(req))
        resp.content_type = "text/xml; charset=utf-8"
        try:
            if method not in self._methods:
                known = ", ".join(map(str, self._methods))
                text = f"no method {str(method)[:_MAX_LETTERS]!r}; there are: {known}"
                raise xmlrpc.client.Fault(_UNKNOWN_METHOD, text)
            answer = iter(self._methods[method](parameters))
            first = next(answer)  # whatever goes wrong does so before anything is sent
        except xmlrpc.client.Fault as fault:
            resp.text = xmlrpc.client.dumps(fault, methodresponse=True)
        else:
            resp.stream = (_NO_XML.sub("\ufffd", part).encode() for part in chain((first,), answer))

    def _search(self, parameters: tuple[Any, ...]) -> Iterable[str]:
        """The projects that match, the best first."""
        words = _words(parameters)
        projects = list(self._matching(words)) if words else []
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

    def _matching(self, words: list[str]) -> Iterator[Project]:
        """The projects that have all words, as far as there is time to read them."""
        end = time.monotonic() + 2 * _SECONDS
        with self._index.catalog.read() as reader:
            for name in reader.search(self._index.lineage, words, _MAX_RESULTS, _SECONDS):
                project = self._index.at(reader).project(name)
                if project is not None:
                    yield project
                if time.monotonic() > end:
                    return

    def _projects(self, parameters: tuple[Any, ...]) -> Iterable[str]:
        self._index.complete.check()  # a mirror deletes what is not listed
        return changelog.projects(self._index.catalog, self._index.lineage)

    def _changes(self, parameters: tuple[Any, ...]) -> Iterable[str]:
        if len(parameters) != 1 or type(parameters[0]) is not int:
            raise xmlrpc.client.Fault(_WRONG_PARAMETERS, "changelog_since_serial expects a serial")
        self._index.complete.check()
        return changelog.changes(self._index.catalog, self._index.lineage, parameters[0])

    def _last(self, parameters: tuple[Any, ...]) -> Iterable[str]:
        self._index.complete.check()
        with self._index.catalog.read() as reader:
            return [xmlrpc.client.dumps((reader.mark("pages"),), methodresponse=True)]


def _body(req: falcon.Request) -> bytes:
    """The body, which must not be waited for (see :mod:`appliance.web.connection`)."""
    length = req.content_length
    if length is None:
        raise falcon.HTTPLengthRequired(description="XML-RPC is posted with a Content-Length")
    if length > LARGEST_BODY:
        raise falcon.HTTPContentTooLarge(description=f"a call fits in {LARGEST_BODY} bytes")
    body: bytes = req.bounded_stream.read(length)
    return body


def _call(body: bytes) -> tuple[str | None, tuple[Any, ...]]:
    """Method and parameters of an XML-RPC call."""
    target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    parser = DefusedExpatParser(target, forbid_dtd=True)
    try:
        parser.feed(body)
        parser.close()
        return target.getmethodname(), tuple(target.close())
    except DefusedXmlException as error:
        raise falcon.HTTPBadRequest(description="XML with a DTD or entities is refused") from error
    except Exception as error:  # whatever a parser makes of a stranger's bytes is their fault
        raise falcon.HTTPBadRequest(description=f"not an XML-RPC call: {error}"[:500]) from error


def _words(parameters: tuple[Any, ...]) -> list[str]:
    """All words of ``search({"name": ..., "summary": ...}, "or")``, each once."""
    spec = parameters[0] if parameters else None
    if not isinstance(spec, dict):
        raise xmlrpc.client.Fault(_WRONG_PARAMETERS, "search expects a struct of name and summary")
    given = [spec.get(key) for key in ("name", "summary")]
    texts = [text for value in given for text in (value if isinstance(value, list) else [value])]
    words = list(dict.fromkeys(" ".join(text for text in texts if isinstance(text, str)).split()))
    if len(words) > _MAX_WORDS or any(len(word) > _MAX_LETTERS for word in words):
        text = f"search expects at most {_MAX_WORDS} words of at most {_MAX_LETTERS} letters"
        raise xmlrpc.client.Fault(_WRONG_PARAMETERS, text)
    return words
