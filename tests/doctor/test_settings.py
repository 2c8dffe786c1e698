"""What pip, uv and the environment are told."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.doctor import settings
from appliance.doctor.finding import Finding

INDEX = "https://pypi.lab.example/simple/"
OTHER = "https://other.example/simple/"
ADVICE = "run `pyindex client {} --url https://pypi.lab.example --write`"
LINKS = "find-links /opt/wheels is used beside the index; remove it unless its files are wanted"
PIP = {"PIP_CONFIG_FILE": "/dev/null"}
UV = {"UV_NO_CONFIG": "1"}

PIP_CASES: dict[str, tuple[dict[str, str], list[tuple[str, str]]]] = {
    "this index alone": ({"PIP_INDEX_URL": INDEX}, [("ok", f"asks {INDEX} alone")]),
    "with a login, without a slash": (
        {"PIP_INDEX_URL": "https://me:secret@pypi.lab.example/simple"},
        [("ok", f"asks {INDEX} alone")],
    ),
    "nothing": (
        {},
        [
            (
                "problem",
                f"index-url is not set, so that pip asks the public index; {ADVICE.format('pip')}",
            )
        ],
    ),
    "another index": (
        {"PIP_INDEX_URL": "https://me:secret@other.example/simple/"},
        [
            (
                "problem",
                f"index-url is https://...@other.example/simple/, not {INDEX};"
                f" {ADVICE.format('pip')}",
            )
        ],
    ),
    "one more index": (
        {"PIP_INDEX_URL": INDEX, "PIP_EXTRA_INDEX_URL": f"{INDEX} {OTHER}"},
        [("problem", f"extra-index-url {OTHER} may answer for any project; remove it")],
    ),
    "no index": (
        {"PIP_INDEX_URL": INDEX, "PIP_NO_INDEX": "1"},
        [("problem", "no-index is set, so that pip asks no index; remove it")],
    ),
    "files beside it": (
        {"PIP_INDEX_URL": INDEX, "PIP_FIND_LINKS": "/opt/wheels"},
        [("warning", LINKS)],
    ),
    "a proxy": (
        {"PIP_INDEX_URL": INDEX, "PIP_PROXY": "http://me:secret@proxy.example:3128"},
        [("warning", "asks the index through the proxy http://...@proxy.example:3128")],
    ),
    "a proxy without a scheme": (
        {"PIP_INDEX_URL": INDEX, "PIP_PROXY": "me:secret@proxy.example:3128"},
        [("warning", "asks the index through the proxy ...@proxy.example:3128")],
    ),
    "any certificate": (
        {"PIP_INDEX_URL": INDEX, "PIP_TRUSTED_HOST": "pypi.lab.example"},
        [
            (
                "warning",
                "trusted-host pypi.lab.example accepts any certificate; set `cert` to the CA's"
                " file",
            )
        ],
    ),
}
UV_CASES: dict[str, tuple[dict[str, str], list[tuple[str, str]]]] = {
    "this index alone": ({"UV_DEFAULT_INDEX": INDEX}, [("ok", f"asks {INDEX} alone")]),
    "nothing": (
        {},
        [
            (
                "problem",
                "the default index is not set, so that uv asks the public index;"
                f" {ADVICE.format('uv')}",
            )
        ],
    ),
    "another index": (
        {"UV_DEFAULT_INDEX": OTHER},
        [("problem", f"the default index is {OTHER}, not {INDEX}; {ADVICE.format('uv')}")],
    ),
    "one more index": (
        {"UV_DEFAULT_INDEX": INDEX, "UV_INDEX": OTHER},
        [("problem", f"index {OTHER} may answer for any project; remove it")],
    ),
    "files beside it": (
        {"UV_DEFAULT_INDEX": INDEX, "UV_FIND_LINKS": "/opt/wheels"},
        [("warning", LINKS)],
    ),
}


def test_section_of_pip_install_counts(tmp_path: Path) -> None:
    """[install] of pip's configuration is what `pip install` uses, and [download] is not."""
    file = tmp_path / "pip.conf"
    file.write_text(f"[install]\nindex-url = {INDEX}\n[download]\nextra-index-url = {OTHER}\n")
    found = list(settings.of_pip(INDEX, {"PIP_CONFIG_FILE": str(file), "HOME": str(tmp_path)}))
    assert found == [Finding("ok", "pip", f"asks {INDEX} alone")]


def expected(subject: str, facts: list[tuple[str, str]]) -> list[Finding]:
    return [Finding(level, subject, text) for level, text in facts]  # type: ignore[arg-type]


@pytest.mark.parametrize("case", PIP_CASES)
def test_settings_of_pip_are_judged(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip asks the index alone, or the finding says what else, without a password."""
    environment, facts = PIP_CASES[case]
    assert list(settings.of_pip(INDEX, PIP | environment)) == expected("pip", facts)


@pytest.mark.parametrize("case", UV_CASES)
def test_settings_of_uv_are_judged(case: str) -> None:
    """uv asks the index alone, or the finding says what else."""
    environment, facts = UV_CASES[case]
    assert list(settings.of_uv(INDEX, UV | environment)) == expected("uv", facts)


PROXY = "http://me:secret@proxy.example:3128"
DIRECT = ("ok", "pypi.lab.example is asked directly")
THROUGH = (
    "warning",
    "pypi.lab.example is asked through http://...@proxy.example:3128; add it to NO_PROXY otherwise",
)


@pytest.mark.parametrize(
    ("variables", "fact"),
    [
        ({}, DIRECT),
        ({"http_proxy": PROXY}, DIRECT),
        ({"https_proxy": PROXY}, THROUGH),
        ({"ALL_PROXY": PROXY}, THROUGH),
        (
            {"https_proxy": "me:secret@proxy.example:1"},
            (
                "warning",
                "pypi.lab.example is asked through ...@proxy.example:1; add it to NO_PROXY"
                " otherwise",
            ),
        ),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "other.example"}, THROUGH),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "lab.example"}, DIRECT),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, DIRECT),
    ],
)
def test_proxies_are_judged(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], fact: tuple[str, str]
) -> None:
    """A proxy for the host of the index is named, unless it is bypassed."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert list(settings.of_proxies(INDEX)) == expected("proxy", [fact])
