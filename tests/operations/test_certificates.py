"""Certificates that expire soon are problems of the index."""

import re
from pathlib import Path

import pytest

from appliance.operations.certificates import expiring
from appliance.operations.health import health
from appliance.spec import Spec
from appliance.spec.model import Nginx, Tls
from tests.certificates import pair
from tests.conftest import Lab


def pem(days: float) -> bytes:
    """A certificate that has so many days left."""
    return pair(days)[0]


def of(lab: Lab, certificate: Path, ca: Path | None = None) -> Spec:
    tls = Tls(certificate=certificate, key=certificate, ca=ca)
    return lab.spec.model_copy(update={"nginx": Nginx(tls=tls)})


CASES: dict[str, tuple[list[float], str | None]] = {
    "long valid": ([100], None),
    "31 days": ([30.5], None),
    "29 days": ([29.5], r"expires in 29 days, on \d{4}-\d\d-\d\d; renew it and reload nginx"),
    "expired": ([-0.5], r"has expired on \d{4}-\d\d-\d\d; renew it and reload nginx"),
    "end of the chain": ([100, 5.5], r"expires in 5 days, on .*"),
    "nothing in it": ([], r"not a certificate \(PEM\); nginx cannot start with it"),
}


@pytest.mark.parametrize("case", CASES)
def test_certificate_that_expires_soon_is_reported(lab: Lab, tmp_path: Path, case: str) -> None:
    """A certificate with less than 30 days left is a problem, with its file and its last day."""
    days, problem = CASES[case]
    file = tmp_path / "cert.pem"
    file.write_bytes(b"".join(map(pem, days)))
    found = list(expiring(of(lab, file)))
    if problem is None:
        assert found == []
    else:
        (text,) = found
        assert re.fullmatch(f"certificate {file}: {problem}", text)


def test_certificate_of_another_machine_is_none(lab: Lab, tmp_path: Path) -> None:
    """A certificate that is not here is no problem of this machine; its CA is judged as well."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(pem(3.5))
    (problem,) = expiring(of(lab, tmp_path / "cert.pem", ca))
    assert problem.startswith(f"certificate {ca}: expires in 3 days")


def test_health_reports_certificates(lab: Lab, tmp_path: Path) -> None:
    """Health is degraded, not failing, as clients are still served."""
    lab.once()
    file = tmp_path / "cert.pem"
    file.write_bytes(pem(3.5))
    result = health(of(lab, file), lab.catalog)
    assert result.failing == []
    assert [each for each in result.degraded if "expires in 3 days" in each]
    assert not list(expiring(lab.spec))
