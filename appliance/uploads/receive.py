"""One upload, from the first byte of its form to its end."""

import logging
from collections.abc import Callable

from appliance.catalog.database import Catalog
from appliance.catalog.readiness import unscanned
from appliance.errors import PyindexError, Unscanned
from appliance.incoming.deletions import Deletions
from appliance.incoming.directory import PackagesDirectory
from appliance.index.model import File
from appliance.index.names import PROVENANCE, SIGNATURE
from appliance.operations import decisions
from appliance.spec import Spec
from appliance.uploads import checks, spool
from appliance.uploads.checks import Release
from appliance.uploads.commit import Committer, Ready, Sender, exists
from appliance.uploads.examination import examine
from appliance.uploads.form import Form, FormReader
from appliance.uploads.provenance import provenance
from appliance.uploads.refused import Refused, full_disk, is_full
from appliance.uploads.spool import Spool

log = logging.getLogger(__name__)

_ARMOR = "-----BEGIN PGP SIGNATURE-----"
Allow = Callable[[Release], Sender]
"""Function that returns who uploads a release, or raises an error that the client gets."""


class Uploads:
    """The uploads into the indexes of ``spec`` in this process."""

    def __init__(self, spec: Spec, catalog: Catalog) -> None:
        self.spec, self.catalog = spec, catalog
        self.committer = Committer(spec, catalog)

    def begin(self, index: str, content_type: str) -> "Upload":
        """Return a new upload into ``index`` of a form with this Content-Type. Raises
        :class:`Refused`, and :class:`Unscanned` while the index may have files that are not known
        yet."""
        with self.catalog.read() as reader:
            if index in unscanned(reader, self.spec, index):
                raise Unscanned(f"index {index} is being scanned for the first time; retry")
        return Upload(self, index, content_type)


class Upload:
    """One upload; :meth:`close` it in any case.

    Attributes:
        has_failed: Whether the rest of the form does not matter any more.
    """

    def __init__(self, uploads: Uploads, index: str, content_type: str) -> None:
        self._uploads, self._index = uploads, index
        self._packages = PackagesDirectory(uploads.spec.indexes[index].packages)
        self._largest = uploads.spec.nginx.max_upload
        self._reader = FormReader(content_type, self)
        self._spool: Spool | None = None
        self._error: Exception | None = None

    @property
    def has_failed(self) -> bool:
        return self._error is not None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the form. Raises nothing: :meth:`form` does."""
        if self._error is None:
            try:
                self._reader.feed(data)
            except (Refused, OSError, PyindexError) as error:
                self._error = error

    def write(self, data: bytes) -> None:
        """Write the next bytes of the file in the form."""
        if self._spool is None:
            self._check_mounted()
            self._spool = spool.create(self._packages)
        if self._spool.size + len(data) > self._largest:
            raise too_large(self._largest)
        self._spool.write(data)

    def form(self) -> Form:
        """Return the form, after its last byte. Raises :class:`Refused` if it is none, or if its
        file cannot be stored."""
        try:
            if self._error is not None:
                raise self._error
            return self._reader.finish()
        except OSError as error:
            raise self._unwritable(error) from error

    def store(self, form: Form, allow: Allow) -> int:
        """Store and publish the file of a form; return the serial of the pages that have it.

        ``allow`` is called when the release is known. Raises :class:`Refused` with nothing stored;
        with status 503 the file may be stored, and the client can send it again.
        """
        checks.protocol(form)
        stated = checks.release(form)
        with self._uploads.catalog.read() as reader:
            owner = reader.owner(self._index, stated.project)
        sender = allow(stated)
        checks.file_fields(form)
        filename = checks.filename(form, stated).filename
        if self._spool is None:
            raise Refused(400, "Upload payload does not have a file: it is empty")
        checks.sha256(form, self._spool.sha256)
        if self._is_known(filename, self._spool.sha256):
            return self._uploads.committer.publish()

        try:
            file, metadata = self._examined(form, stated, filename, self._spool)
        except OSError as error:
            raise self._unwritable(error) from error
        ready = Ready(self._index, self._spool, file, metadata, sender, owner)
        return self._uploads.committer.commit(ready)

    def remove(self, release: Release, sender: Sender) -> list[str]:
        """Remove the files of a release; return their names. Raises :class:`NotFound`, and
        :class:`PyindexError` for a file that cannot be moved to the trash."""
        what = f"{release.name}=={release.version}"
        removed = decisions.remove(self._uploads.spec, self._index, what, sender.actor)
        return [file.filename for file, _ in removed]

    def close(self) -> None:
        """Remove what is left of the upload but a stored file."""
        if self._spool is not None:
            self._spool.discard()

    # --- steps ---------------------------------------------------------------------------------

    def _check_mounted(self) -> None:
        """Raise :class:`PyindexError` if the disk of the packages directory is not mounted."""
        spec, catalog = self._uploads.spec, self._uploads.catalog
        Deletions(spec, catalog, self._index, self._packages, confirmed=False).check_mounted()

    def _is_known(self, filename: str, sha256: str) -> bool:
        """Return whether the index has the file; a client that was cut off sends it again. Raises
        :class:`Refused` if it has another file of this name."""
        with self._uploads.catalog.read() as reader:
            known = reader.file(self._index, filename)
        if known is not None and known.sha256 != sha256:
            raise exists(known)
        return known is not None

    def _examined(
        self, form: Form, stated: Release, filename: str, files: Spool
    ) -> tuple[File, bytes | None]:
        """Complete the spool and examine the file; return it and its core metadata."""
        entry = files.complete(filename, _companions(form, filename, files.sha256))
        file, metadata = examine(files.directory, entry)
        if file.sha256 != files.sha256:
            raise PyindexError(f"{filename}: the examiner has read other bytes than were written")
        checks.content(form, stated, file)
        return file, metadata

    def _unwritable(self, error: OSError) -> Refused:
        if is_full(error):
            return full_disk()
        log.error("index %s: uploads cannot be stored: %s", self._index, error)
        return Refused(503, "The server cannot write to its packages directory; its log says why")


def too_large(limit: int) -> Refused:
    """Return the error for a file of more than ``limit`` bytes."""
    return Refused(413, f"File too large: the limit is {limit} bytes (`nginx.max_upload`)")


def _companions(form: Form, filename: str, sha256: str) -> dict[str, bytes]:
    """Return the contents of files to keep beside the package file, by their endings."""
    companions: dict[str, bytes] = {}
    if (signature := form.get("gpg_signature")) is not None:
        if not signature.startswith(_ARMOR):
            raise Refused(400, f"The signature does not begin with {_ARMOR!r} (RFC 9580)")
        companions[SIGNATURE] = signature.encode("latin-1")
    if (attestations := form.get("attestations")) is not None:
        companions[PROVENANCE] = provenance(attestations, filename, sha256)
    return companions
