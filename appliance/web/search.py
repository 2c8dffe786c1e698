"""XML-RPC ``search``, which ``pip search`` speaks; XML from outside is read without entities."""

import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError

import falcon
from defusedxml import DefusedXmlException
from defusedxml.xmlrpc import DefusedExpatParser

from appliance.index.catalog import Catalog
from appliance.index.publish import resolve
from appliance.spec import Spec

_MAX_BODY = 64 * 1024
_MAX_RESULTS = 100
_MAX_WORDS = 50
_UNKNOWN_METHOD = -32601  # the fault codes that PyPI uses
_WRONG_PARAMETERS = -32500
XML_TYPES = ("text/xml", "application/xml")


class XmlRpc:
    """One index's XML-RPC endpoint."""

    def __init__(self, spec: Spec, catalog: Catalog, index: str) -> None:
        self._spec, self._catalog, self._index = spec, catalog, index

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        if (req.content_type or "").partition(";")[0].strip().lower() not in XML_TYPES:
            raise falcon.HTTPUnsupportedMediaType(description="XML-RPC is posted as text/xml")
        method, parameters = _call(_body(req))
        try:
            answer: Any = (self._dispatch(method, parameters),)
        except xmlrpc.client.Fault as fault:
            answer = fault
        resp.text = xmlrpc.client.dumps(answer, methodresponse=True, allow_none=True)
        resp.content_type = "text/xml; charset=utf-8"

    def _dispatch(self, method: str | None, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
        if method != "search":
            raise xmlrpc.client.Fault(_UNKNOWN_METHOD, f"no method {method!r}; there is: search")
        return self._search(_words(parameters))

    def _search(self, words: list[str]) -> list[dict[str, Any]]:
        """The projects that match, the best first."""
        lineage = self._spec.lineage(self._index)
        with self._catalog.read() as reader:
            found = [
                resolve(reader, self._spec, self._index, name)
                for name in reader.search(lineage, words, _MAX_RESULTS)
            ]
        return [
            {
                "_pypi_ordering": order,
                "name": project.display,
                "version": project.latest or "",
                "summary": project.summary or "",
            }
            for order, project in enumerate(found)
            if project is not None
        ]


def _body(req: falcon.Request) -> bytes:
    body: bytes = req.bounded_stream.read(_MAX_BODY + 1)
    if len(body) > _MAX_BODY:
        raise falcon.HTTPContentTooLarge(description=f"a search fits in {_MAX_BODY} bytes")
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
    except (ExpatError, xmlrpc.client.Error, ValueError, LookupError, TypeError) as error:
        raise falcon.HTTPBadRequest(description=f"not an XML-RPC call: {error}") from error


def _words(parameters: tuple[Any, ...]) -> list[str]:
    """All words of ``search({"name": ..., "summary": ...}, "or")``, each once."""
    spec = parameters[0] if parameters else None
    if not isinstance(spec, dict):
        raise xmlrpc.client.Fault(_WRONG_PARAMETERS, "search expects a struct of name and summary")
    given = [spec.get(key) for key in ("name", "summary")]
    texts = [text for value in given for text in (value if isinstance(value, list) else [value])]
    words = " ".join(text for text in texts if isinstance(text, str)).split()
    if len(words) > _MAX_WORDS:
        raise xmlrpc.client.Fault(_WRONG_PARAMETERS, f"search expects at most {_MAX_WORDS} words")
    return list(dict.fromkeys(words))
