"""Errors of the packages below, as clients see them."""

import falcon
import pytest
from falcon.testing import TestClient

from appliance.accounts.htpasswd import AccountsError
from appliance.catalog.database import CatalogError
from appliance.errors import STATUSES, NotFound, PyindexError, Rejected, SpecError, Unscanned
from appliance.incoming.directory import DirectoryMissing
from appliance.web.app import create_app
from tests.conftest import Lab

LOGGED = "503 Service Unavailable: {}; the log says why\n"
CATALOG, ACCOUNTS, OTHER = map(
    LOGGED.format,
    (
        "the catalog cannot be used",
        "the accounts cannot be read",
        "the server cannot do this now",
    ),
)
# (the error; status and text of the response)
UNREADABLE = "503 Service Unavailable: the server cannot read this: Permission denied\n"
ERRORS: list[tuple[PyindexError | OSError, int, str]] = [
    (NotFound("no such file"), 404, "404 Not Found: no such file\n"),
    (Unscanned("being scanned"), 503, "503 Service Unavailable: being scanned\n"),
    (CatalogError("/srv/state: damaged"), 503, CATALOG),
    (AccountsError("/srv/htpasswd: permission denied"), 503, ACCOUNTS),
    (SpecError(["/etc/pyindex.yml: bad"]), 503, OTHER),
    (Rejected("bad zip"), 503, OTHER),
    (DirectoryMissing("/srv/packages: no such directory"), 503, OTHER),
    (PyindexError("/srv/state: full"), 503, OTHER),
    (PermissionError(13, "Permission denied", "/srv/foo.whl"), 503, UNREADABLE),
]


class Failing:
    """A resource that raises an error."""

    def __init__(self, error: PyindexError | OSError) -> None:
        self._error = error

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "text"), ERRORS, ids=lambda value: type(value).__name__
)
def test_error_has_the_status_of_its_class(
    lab: Lab,
    error: PyindexError | OSError,
    status: int,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The nearest class in STATUSES decides; texts with paths of the server are logged instead."""
    nearest = next((each for each in type(error).__mro__ if each in STATUSES), PyindexError)
    assert STATUSES[nearest] == status

    app = create_app(lab.spec)
    app.add_route("/-failing-", Failing(error))
    response = TestClient(app).simulate_get("/-failing-")
    assert (response.status_code, response.text) == (status, text)
    assert response.headers.get("retry-after") == ("5" if type(error) is Unscanned else None)
    assert (str(error) in caplog.text) == (text in (CATALOG, ACCOUNTS, OTHER, UNREADABLE))
