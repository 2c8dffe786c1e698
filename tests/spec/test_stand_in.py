"""Rules of ``nginx.stand_in``: host names of another index."""

import pytest

from .texts import loaded, problems

SPEC = """\
url: {url}
state: /state
indexes:
  main: {{packages: /packages}}
nginx:
  {tls}
  names: [pypi, Other.lab]
  stand_in: {names}
"""
TLS = "tls: {certificate: /c.pem, key: /k.pem}"
HTTPS = "8: nginx.stand_in: requires nginx.tls and an https url at port 443, as locks name both"
OWN = "is a name of this appliance; list only those of another index"


def written(url: str, tls: str, names: str) -> str:
    return SPEC.format(url=url, tls=tls or "max_upload: 2g", names=names)


@pytest.mark.parametrize(
    ("names", "url"),
    [
        ("[Index.example]", "https://index.example/packages/"),
        ("[index.example, Files.example]", "https://files.example/packages/"),
        ("[a.example, b.example, c.example]", "https://b.example/packages/"),
        ("[a.example, a.example]", "https://a.example/packages/"),
        ("[]", None),
    ],
)
def test_second_name_is_host_of_files(names: str, url: str | None) -> None:
    """The second name, or the only one, is the host of the files."""
    assert loaded(written("https://lab.example:443/x", TLS, names)).nginx.stand_in_files == url


REJECTED: list[tuple[str, str, str, list[str]]] = [
    ("https://lab.example", "", "[a.example]", [HTTPS]),
    ("http://lab.example", TLS, "[a.example]", [HTTPS]),
    ("https://lab.example:8443", TLS, "[a.example]", [HTTPS]),
    (
        "https://lab.example",
        TLS,
        "[a.example, LAB.example]",
        [f"8: nginx.stand_in[1]: 'LAB.example' {OWN}"],
    ),
    ("https://lab.example", TLS, "[other.LAB]", [f"8: nginx.stand_in[0]: 'other.LAB' {OWN}"]),
    (
        "https://lab.example",
        TLS,
        "['a b', '*.example', \"a$b\"]",
        [
            f"8: nginx.stand_in[{number}]: expected a host name such as pypi.lab, got {name!r}"
            for number, name in enumerate(("a b", "*.example", "a$b"))
        ],
    ),
    (
        "https://lab.example",
        TLS,
        "a.example",
        ["8: nginx.stand_in: expected a list such as [a, b], got 'a.example'"],
    ),
]


@pytest.mark.parametrize(("url", "tls", "names", "expected"), REJECTED)
def test_stand_in_is_rejected(url: str, tls: str, names: str, expected: list[str]) -> None:
    """Names without HTTPS at port 443, names of the appliance itself and other text are faults."""
    assert problems(written(url, tls, names)) == expected


def test_stand_in_requires_url() -> None:
    """Names without a url are a fault."""
    text = written("https://lab.example", TLS, "[a.example]").partition("\n")[2]
    assert problems(text) == [HTTPS.replace("8: ", "7: ")]
