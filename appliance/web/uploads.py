"""The endpoint of upload clients: forms with a file, and the older actions beside it.

A form is received as it arrives, without a thread that waits for it: see
:data:`appliance.web.connection.RECEIVER`.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache

import falcon

from appliance.accounts.principal import Principal
from appliance.index.model import Actor
from appliance.spec import IndexSection
from appliance.uploads import actions
from appliance.uploads.actions import Right
from appliance.uploads.checks import Release
from appliance.uploads.commit import Sender
from appliance.uploads.form import FORM, LARGEST_FIELDS
from appliance.uploads.receive import Upload, Uploads, too_large
from appliance.uploads.refused import Refused, full_disk, reason_phrase
from appliance.web import address
from appliance.web.connection import RECEIVER, STREAMS
from appliance.web.counters import Counters
from appliance.web.metrics import of_index, refusals
from appliance.web.served import ServedIndex

_CHUNK = 1 << 18
_ABOUT = """\
Uploads are posted here, for example by

    twine upload --repository-url {url} dist/*
    uv publish --publish-url {url} dist/*
"""


class UploadForm:
    """The upload endpoint of one index."""

    def __init__(self, index: ServedIndex, uploads: Uploads, counters: Counters) -> None:
        self._index, self._uploads, self._counters = index, uploads, counters

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        if req.get_param(":action") == "list_classifiers":
            resp.text = _classifiers()
        else:
            base = address.base(self._index.spec, req)
            resp.text = _ABOUT.format(url=f"{base}/{self._index.prefix}legacy/")

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        upload = req.env.get(RECEIVER)
        if upload is None:
            self._check(req)
            with self._counting():
                upload = self._begin(req)
            if req.env.get(STREAMS):
                req.env[RECEIVER] = upload
                return
            _read(req, upload)

        with closing(upload), self._counting():
            answer = actions.answer(upload, lambda *wanted: self._sender(req, *wanted))
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{answer.text}\n"
        if answer.serial:
            resp.set_header("X-PyPI-Last-Serial", str(answer.serial))
            self._counters.add(of_index("uploads", self._index.name))
            self._counters.add(of_index("upload_bytes", self._index.name), req.content_length or 0)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Count a refusal."""
        try:
            yield
        except Refused as error:
            self._counters.add(refusals(self._index.name, error.rule))
            raise

    def _begin(self, req: falcon.Request) -> Upload:
        """Return an upload for the body of a request. Raises an error for what its head shows."""
        length = req.content_length
        if length is None:
            raise falcon.HTTPLengthRequired(description="send the form with a Content-Length")
        limit = self._index.spec.nginx.max_upload
        if length > limit + LARGEST_FIELDS:
            raise too_large(limit)
        upload = self._uploads.begin(self._index.name, req.content_type or "")
        if shutil.disk_usage(self._section.packages).free < length:
            raise full_disk()
        return upload

    def _check(self, req: falcon.Request) -> None:
        """Raise an error if no upload of this request's sender can be accepted."""
        # A browser sends stored passwords with a form of any site; no upload client has an Origin.
        if req.get_header("Origin") is not None:
            raise Refused(403, "Uploads from browsers are not accepted")
        if not self._section.accepts_uploads:
            raise Refused(
                403,
                f"Index {self._index.name} accepts no uploads: `indexes.{self._index.name}.upload`"
                " of the spec names no account",
            )
        try:
            self._authorize(req, "upload", None)
        except falcon.HTTPForbidden:
            if not self._may_remove(req):
                raise

    def _sender(self, req: falcon.Request, right: Right, release: Release) -> Sender:
        """Return who sends a form. Raises an error without the ``right`` for the release."""
        principal = self._authorize(req, right, release.project)
        return Sender(Actor(str(principal), address.client(req)), principal.owner)

    def _may_remove(self, req: falcon.Request) -> bool:
        """Return whether the sender may remove files, perhaps those that others upload."""
        with suppress(falcon.HTTPForbidden):
            self._authorize(req, "remove", None)
            return True
        return False

    def _authorize(self, req: falcon.Request, right: Right, project: str | None) -> Principal:
        """Return who sends a request. Raises an error with the reason in its status line, which is
        all that most clients show."""
        try:
            return self._index.authorize(req, right, project)
        except falcon.HTTPError as error:
            reason = error.description or error.title or ""
            error.status = f"{error.status_code} {reason_phrase(reason)}"
            error.title, error.description = f"{error.status_code} {reason}", None
            raise

    @property
    def _section(self) -> IndexSection:
        return self._index.spec.indexes[self._index.name]


def is_form(req: falcon.Request) -> bool:
    """Return whether a request is posted by an upload client."""
    return (req.content_type or "").lower().startswith(FORM)


def _read(req: falcon.Request, upload: Upload) -> None:
    """Read all of a body that has arrived, or that another server than ours waits for."""
    while not upload.has_failed and (data := req.bounded_stream.read(_CHUNK)):
        upload.feed(data)


@lru_cache(maxsize=1)
def _classifiers() -> str:
    from trove_classifiers import sorted_classifiers

    return "".join(f"{each}\n" for each in sorted_classifiers)
