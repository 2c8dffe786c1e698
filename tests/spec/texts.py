"""Specs that tests share, and helpers that load them."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from appliance.errors import SpecError
from appliance.spec import Spec, load, schema

# quoted from architecture.md, section 5
SKETCH = """\
name: pyindex
url: https://pypi.lab.example            # what clients type; nothing else decides scheme, host, prefix
state: /var/lib/pyindex                  # catalog and pages
indexes:
  main:                                  # the first index is also served at /simple/ and /packages/
    packages: /srv/pyindex/packages
    upload: [alice, ci]
  staging:
    packages: /srv/pyindex/staging
    bases: [main]
accounts: {htpasswd: /etc/pyindex/htpasswd}
server: {manager: systemd, workers: 2, threads: 8}
nginx: {tls: {certificate: /etc/pki/pyindex/fullchain.pem, key: /etc/pki/pyindex/key.pem}, max_upload: 2g}
host: {system: centos-7}
"""  # noqa: E501
SMALL = "state: /state\nindexes:\n  main: {packages: /packages}\n"
HEAD = "state: /state\nindexes:\n"
NAME = "expected a name of small letters, digits and '-', at most 63, not beginning with '-'"
URL = "expected http[s]://HOST[:PORT][/PREFIX] without user, query or fragment"


def loaded(text: str) -> Spec:
    Path("pyindex.yml").write_text(text, encoding="utf-8")
    return load(Path("pyindex.yml"))


def problems(text: str | bytes) -> list[str]:
    Path("pyindex.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        load(Path("pyindex.yml"))
    return [problem.removeprefix("pyindex.yml:") for problem in caught.value.problems]


def with_value(key: str, written: str) -> str:
    section, _, name = key.rpartition(".")
    return f"{SMALL}{section}:\n  {name}: {written}\n" if section else f"{SMALL}{key}: {written}\n"


class EditorLoader(yaml.SafeLoader):
    """YAML loader that accepts unknown tags, as an editor does."""


EditorLoader.add_constructor(None, lambda loader, node: object())


def is_valid_in_schema(text: str) -> bool:
    """Return whether the JSON Schema accepts the text, as an editor would see it."""
    validator = jsonschema.Draft202012Validator(schema())
    return validator.is_valid(yaml.load(text, EditorLoader))
