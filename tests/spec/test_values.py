"""Values of a spec: accepted notations, defaults, and messages about invalid values."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.spec import Accounts, Host, IndexSection, Nginx, Server, Spec, Tls

from .texts import NAME, SKETCH, SMALL, URL, is_valid_in_schema, loaded, problems, with_value


def test_sketch_is_valid() -> None:
    """The sketch of a spec in the architecture is valid."""
    assert loaded(SKETCH) == Spec(
        name="pyindex",
        url="https://pypi.lab.example",
        state=Path("/var/lib/pyindex"),
        indexes={
            "main": IndexSection(packages=Path("/srv/pyindex/packages"), upload=("alice", "ci")),
            "staging": IndexSection(packages=Path("/srv/pyindex/staging"), bases=("main",)),
        },
        accounts=Accounts(htpasswd=Path("/etc/pyindex/htpasswd")),
        server=Server(manager="systemd", workers=2, threads=8),
        nginx=Nginx(
            tls=Tls(
                certificate=Path("/etc/pki/pyindex/fullchain.pem"),
                key=Path("/etc/pki/pyindex/key.pem"),
            ),
            max_upload=2 * 1024**3,
        ),
        host=Host(system="centos-7"),
    )


def test_small_spec_has_defaults() -> None:
    """A spec of a state directory and one index has defaults for all other keys."""
    spec = loaded(SMALL)
    assert (spec.name, spec.url, spec.accounts.htpasswd) == ("pyindex", None, None)
    assert spec.server == Server(
        manager="systemd",
        host="127.0.0.1",
        port=8080,
        workers=2,
        threads=8,
        reconcile=timedelta(minutes=1),
    )
    assert (spec.nginx.tls, spec.nginx.max_upload) == (None, 2 * 1024**3)
    assert (spec.indexes["main"].bases, spec.indexes["main"].upload) == ((), ())
    assert spec.host.system is None


def test_spec_derives_paths() -> None:
    """The spec derives published tree, catalog, root index and URL prefixes."""
    spec = loaded(SKETCH)
    assert (spec.www, spec.catalog) == (
        Path("/var/lib/pyindex/www"),
        Path("/var/lib/pyindex/catalog.sqlite"),
    )
    assert (spec.root, spec.prefix("main"), spec.prefix("staging")) == ("main", "", "staging/")


def test_spec_is_frozen() -> None:
    """A loaded spec cannot be changed."""
    with pytest.raises(ValueError, match="frozen"):
        loaded(SMALL).server.port = 1  # type: ignore[misc]


NETWORKS = ("10.0.0.0/8", "fd00::/8", "10.0.0.1")
# (key, text, value, whether the JSON Schema accepts the text with the types of YAML)
ACCEPTED: list[tuple[str, str, object, bool]] = [
    ("name", "lab-2", "lab-2", True),
    ("name", "007", "007", False),
    ("name", "no", "no", False),
    ("url", "http://localhost:8080", "http://localhost:8080", True),
    ("url", "https://Pypi.Lab.example/", "https://pypi.lab.example", True),
    ("url", "https://lab.example/Py/index/", "https://lab.example/Py/index", True),
    ("url", "http://10.0.0.7:65535", "http://10.0.0.7:65535", True),
    ("url", "http://[::1]:8080/x", "http://[::1]:8080/x", True),
    ("url", "http://index_1.docker", "http://index_1.docker", True),
    ("url", "", None, True),
    ("server.workers", "4", 4, True),
    ("server.workers", '"4"', 4, False),
    ("server.port", "65535", 65535, True),
    ("server.host", "'::'", "::", True),
    ("server.host", "0.0.0.0", "0.0.0.0", True),
    ("server.manager", "supervisor", "supervisor", True),
    ("server.reconcile", "90s", timedelta(seconds=90), True),
    ("server.reconcile", "5m", timedelta(minutes=5), True),
    ("server.reconcile", "1h30m", timedelta(hours=1, minutes=30), True),
    ("server.reconcile", "14d", timedelta(days=14), True),
    ("server.reconcile", "1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4), True),
    ("nginx.max_upload", "2147483648", 2147483648, True),
    ("nginx.max_upload", "10k", 10240, True),
    ("nginx.max_upload", "512M", 512 * 1024**2, True),
    ("nginx.max_upload", "2g", 2 * 1024**3, True),
    ("nginx.names", "[pypi, Pypi.lab, 10.0.0.1]", ("pypi", "Pypi.lab", "10.0.0.1"), True),
    ("nginx.internal", "[10.0.0.0/8, 'fd00::/8', 10.0.0.1/32]", NETWORKS, True),
    ("server.bind", "port", "port", True),
    (
        "targets",
        "[debian12, cp312-win32]",
        {"debian12": "debian12", "cp312-win32": "cp312-win32"},
        True,
    ),
    ("targets", "{old: centos7-py27}", {"old": "centos7-py27"}, True),
    ("targets", "['python:/usr/bin/../x']", {"python:/usr/bin/../x": "python:/usr/x"}, True),
    ("backup.directory", "/mnt/backup", Path("/mnt/backup"), True),
    ("backup.keep", "3650", 3650, True),
    ("host.system", "debian-12", "debian-12", True),
    ("accounts.htpasswd", "~/htpasswd", Path("/home/alice/htpasswd"), True),
    ("accounts.htpasswd", "/etc//x/../htpasswd", Path("/etc/htpasswd"), True),
    ("accounts.htpasswd", "~", None, True),
    ("accounts.htpasswd", "${ROOT}/${ROOT}/x", Path("/mnt/root/mnt/root/x"), True),
    ("accounts.htpasswd", "/a$${ROOT}$x", Path("/a${ROOT}$x"), True),
    ("accounts.htpasswd", "${ROOT:-/a}/${UNSET:-b}${EMPTY:-c}", Path("/mnt/root/bc"), True),
    ("url", "https://${UNSET:-pypi.lab}", "https://pypi.lab", True),
    ("url", "${UNSET:-}", None, True),
    ("url", "${EMPTY:-}", None, True),
    ("server.port", "${UNSET:-8081}", 8081, True),
    ("accounts.htpasswd", "/srv/mit Leerzeichen/ä", Path("/srv/mit Leerzeichen/ä"), True),
]


@pytest.mark.parametrize(("key", "written", "read", "in_schema"), ACCEPTED)
def test_spec_accepts_value(key: str, written: str, read: object, in_schema: bool) -> None:
    """The spec accepts a value, and the JSON Schema accepts it where its YAML type allows it."""
    value: Any = loaded(with_value(key, written))
    for part in key.split("."):
        value = getattr(value, part)
    assert value == read
    assert is_valid_in_schema(with_value(key, written)) is in_schema


DURATION = "expected a duration such as 90s, 5m, 1h30m, 14d or 2y"
ADDRESS = "expected an address such as 127.0.0.1 or ::"
SIZE = "expected a size such as 512m or 2g"
PATH = "expected a path, without control characters"
USER = "expected a path whose '~' is a user of this machine"
PORT = "expected a whole number from 1 to 65535"
COUNT = "expected a whole number from 1 to 256"
MAPPING = "expected a mapping of keys to values"
UNSET = "the environment variable UNSET is not set"
VARIABLE = "expected ${NAME}, or $${ for a plain ${"
TAG = "expected a plain value, got the tag"
# (key, text, message, whether the JSON Schema rejects it too)
TARGETS = "expected targets such as [debian12, cp312-win_amd64], or a mapping of names to such"
REFUSED = [
    ("name", "Lab", f"{NAME}, got 'Lab'", True),
    ("name", "''", f"{NAME}, got ''", True),
    ("name", "", f"{NAME}, got nothing", True),
    ("name", "[a]", f"{NAME}, got a list", True),
    ("name", "{a: b}", f"{NAME}, got a mapping", True),
    ("name", "é", f"{NAME}, got 'é'", True),
    ("name", "a" * 64, f"{NAME}, got '{'a' * 64}'", True),
    ("name", "B" * 1000, f"{NAME}, got '{'B' * 75}...'", True),
    ("url", "pypi.lab.example", f"{URL}, got 'pypi.lab.example'", True),
    ("url", "ftp://lab.example", f"{URL}, got 'ftp://lab.example'", True),
    ("url", "https://", f"{URL}, got 'https://'", True),
    ("url", "https://a/?q=1", f"{URL}, got 'https://a/?q=1'", True),
    ("url", "https://a/#f", f"{URL}, got 'https://a/#f'", True),
    ("url", "https://alice:secret@a/", f"{URL}, got 'https://...@a/'", True),
    ("url", "http://a:99999", f"{URL}, got 'http://a:99999'", False),
    ("url", "http://a:0", f"{URL}, got 'http://a:0'", False),
    ("url", "http://[:::]/", f"{URL}, got 'http://[:::]/'", False),
    ("url", "http://a/b/../c", f"{URL}, got 'http://a/b/../c'", False),
    ("url", "http://a//b", f"{URL}, got 'http://a//b'", False),
    ("url", "http://a b/", f"{URL}, got 'http://a b/'", False),
    (
        "url",
        "http://a/b/simple/",
        "expected the URL of the appliance, without /simple, which clients add,"
        " got 'http://a/b/simple/'",
        False,
    ),
    ("server", "4", f"{MAPPING}, got '4'", True),
    ("server", "", f"{MAPPING}, got nothing", True),
    ("server.manager", "sysv", "expected 'systemd' or 'supervisor', got 'sysv'", True),
    ("server.workers", "0", f"{COUNT}, got '0'", True),
    ("server.workers", "-1", f"{COUNT}, got '-1'", True),
    ("server.workers", "many", f"{COUNT}, got 'many'", True),
    ("server.workers", "2.0", f"{COUNT}, got '2.0'", False),
    ("server.workers", "٣", f"{COUNT}, got '٣'", True),
    ("server.port", "65536", f"{PORT}, got '65536'", True),
    ("server.port", "9" * 4000, f"{PORT}, got '{'9' * 75}...'", True),
    ("server.host", "a b", f"{ADDRESS}, got 'a b'", True),
    ("server.host", "unix", f"{ADDRESS}, got 'unix'", False),
    ("server.host", "UNIX", f"{ADDRESS}, got 'UNIX'", False),
    ("server.host", "999.1.1.1", f"{ADDRESS}, got '999.1.1.1'", False),
    ("server.host", "127.1", f"{ADDRESS}, got '127.1'", True),
    ("server.host", "8080", f"{ADDRESS}, got '8080'", True),
    ("server.host", "pypi.0x7f", f"{ADDRESS}, got 'pypi.0x7f'", False),
    ("server.host", "'::1::'", f"{ADDRESS}, got '::1::'", False),
    ("server.host", "fe80::1%eth0", f"{ADDRESS}, got 'fe80::1%eth0'", True),
    ("server.host", "a..b", f"{ADDRESS}, got 'a..b'", True),
    ("server.host", "x-", f"{ADDRESS}, got 'x-'", True),
    ("url", "http://999.1.1.1/", f"{URL}, got 'http://999.1.1.1/'", False),
    ("url", "http://a..b/", f"{URL}, got 'http://a..b/'", False),
    ("server.reconcile", "90", f"{DURATION}, got '90'", True),
    ("server.reconcile", "0s", f"{DURATION}, got '0s'", False),
    ("server.reconcile", "1m1h", f"{DURATION}, got '1m1h'", True),
    ("server.reconcile", "1.5h", f"{DURATION}, got '1.5h'", True),
    ("server.reconcile", "999999d", f"{DURATION}, got '999999d'", True),
    ("server.reconcile", "3651d", "expected at most 3650d, got '3651d'", False),
    ("nginx.max_upload", "2 GB", f"{SIZE}, got '2 GB'", True),
    ("nginx.max_upload", "0", f"{SIZE}, got '0'", False),
    ("nginx.max_upload", "9999999999999999g", f"{SIZE}, got '9999999999999999g'", False),
    ("server.bind", "tcp", "expected 'socket' or 'port', got 'tcp'", True),
    ("backup.keep", "0", "expected a whole number from 1 to 3650, got '0'", True),
    ("nginx.tls", "true", f"{MAPPING}, got 'true'", True),
    ("targets", "debian12", f"{TARGETS}, got 'debian12'", True),
    ("targets", "[]", f"{TARGETS}, got a list", True),
    ("targets", "{}", f"{TARGETS}, got a mapping", True),
    ("targets", "[debian12, [a]]", f"{TARGETS}, got a list", True),
    ("targets", "[debian12, '']", f"{TARGETS}, got a list", True),
    ("targets", "{old: }", f"{TARGETS}, got a mapping", True),
    ("targets", '["a\\nb"]', f"{TARGETS}, got a list", False),
    ("targets", "['python:~nobody-at-all/x']", f"{USER}, got a list", False),
    ("host.system", "centos-6", "expected 'centos-7' or 'debian-12', got 'centos-6'", True),
    ("accounts.htpasswd", "''", f"{PATH}, got ''", True),
    ("accounts.htpasswd", '"/a\\nb"', rf"{PATH}, got '/a\nb'", False),
    ("accounts.htpasswd", '"/a\\0"', rf"{PATH}, got '/a\x00'", False),
    ("accounts.htpasswd", "~nobody-at-all/x", f"{USER}, got '~nobody-at-all/x'", False),
    ("accounts.htpasswd", "${UNSET}/x", UNSET, False),
    ("accounts.htpasswd", "/${UNSET:-${B}}", f"{VARIABLE}, got '/${{UNSET:-${{B}}}}'", False),
    ("accounts.htpasswd", "/${UN-SET}", f"{VARIABLE}, got '/${{UN-SET}}'", False),
    ("accounts.htpasswd", "${EMPTY}", f"{PATH}, got ''", False),
    ("accounts.htpasswd", "!!binary aGk=", f"{TAG} 'tag:yaml.org,2002:binary'", True),
    ("accounts.htpasswd", "!env HOME", f"{TAG} '!env'", True),
    ("server", "!!set {workers}", f"{TAG} 'tag:yaml.org,2002:set'", True),
]


def test_spec_names_invalid_item_of_list() -> None:
    """The spec names each invalid item of a list by its position."""
    text = (
        f"{SMALL}nginx:\n  names: [ok, a b, 999.1.1.1]\n  internal: [10.0.0.1/8, 'fe80::1%eth0']\n"
        "  listen: [127.0.0.1, unix, 999.1.1.1]\n"
    )
    network = "expected an address or a network such as 10.0.0.0/8"
    assert problems(text) == [
        "5: nginx.names[1]: expected a host name such as pypi.lab, got 'a b'",
        "5: nginx.names[2]: expected a host name such as pypi.lab, got '999.1.1.1'",
        f"6: nginx.internal[0]: {network}, got '10.0.0.1/8'",
        f"6: nginx.internal[1]: {network}, got 'fe80::1%eth0'",
        f"7: nginx.listen[1]: {ADDRESS}, got 'unix'",
        f"7: nginx.listen[2]: {ADDRESS}, got '999.1.1.1'",
    ]


@pytest.mark.parametrize(("key", "written", "sentence", "in_schema"), REFUSED)
def test_spec_rejects_value(key: str, written: str, sentence: str, in_schema: bool) -> None:
    """The spec rejects an invalid value with line, key, expected and actual value."""
    text = with_value(key, written)
    assert problems(text) == [f"{text.count(chr(10))}: {key}: {sentence}"]
    assert is_valid_in_schema(text) is not in_schema
