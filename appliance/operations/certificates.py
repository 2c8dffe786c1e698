"""Certificates of nginx that expire soon, before a client notices."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.spec import Spec

_NOTICE = timedelta(days=30)
_CA_NOTICE = timedelta(days=180)  # a new one goes to each client


def expiring(spec: Spec) -> Iterator[str]:
    """Yield a problem for each certificate of the spec's ``nginx.tls`` that has less than 30 days
    left, that of a CA 180 days, and for a file that has none.

    A file that this user cannot read, as certbot's, is left to whoever renews it. One that is not
    here is that of another machine: nginx would not run without it.
    """
    tls = spec.nginx.tls
    if tls is None:
        return
    renewal = "renew it and reload nginx"
    yield from _file_problems(tls.certificate, _NOTICE, renewal)
    if tls.ca is not None:
        renewal = "extend or replace it, and give clients the new one (/-/ca.pem)"
        yield from _file_problems(tls.ca, _CA_NOTICE, renewal)


def _file_problems(file: Path, notice: timedelta, renewal: str) -> Iterator[str]:
    try:
        yield from _problems(file, notice, renewal)
    except (FileNotFoundError, PermissionError):
        return
    except OSError as error:
        yield f"certificate {file}: {error.strerror}; nginx cannot read it either"
    except ValueError:
        yield f"certificate {file}: not a certificate (PEM); nginx cannot start with it"


def _problems(file: Path, notice: timedelta, renewal: str) -> Iterator[str]:
    """Whichever expires first: clients need the whole chain."""
    from cryptography import x509  # large; most servers have no HTTPS

    now = datetime.now(UTC)
    chain = x509.load_pem_x509_certificates(file.read_bytes())
    end = min(each.not_valid_after_utc for each in chain)
    if end - now < notice:
        days = (end - now).days
        what = f"expires in {days} days, on" if end > now else "has expired on"
        yield f"certificate {file}: {what} {end:%Y-%m-%d}; {renewal}"
