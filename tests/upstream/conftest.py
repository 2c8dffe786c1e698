"""Fixtures: a faulty server, and limits with which tests need not wait."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.upstream import Limits
from tests.upstream.faulty import Faulty, serving

# The times to wait are short; those to give up are long, since the machine may be busy.
LIMITS = Limits(
    attempts=3,
    first_wait_seconds=0.001,
    longest_wait_seconds=0.002,
    longest_retry_after_seconds=0.01,
    progress_bytes=1000,
    page_bytes=100_000,
    metadata_bytes=100_000,
    file_bytes=1_000_000,
)
IMPATIENT = replace(LIMITS, idle_seconds=0.2)
HASTY = replace(LIMITS, slow_seconds=0.2, slow_bytes=1000)


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home directory without any configuration; no variable of pip, uv or proxies is set."""
    for name in list(os.environ):
        if name.upper().startswith(("PIP_", "UV_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)  # a tenth of a second for each client
    directory = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(directory))
    return directory
