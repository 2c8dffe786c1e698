"""The repositories of OS packages in a spec."""

from pathlib import Path

import pytest

from appliance.errors import SpecError
from appliance.spec import Repository, with_host

from .texts import SMALL, loaded, problems

EXPECTED = "expected a URL, for apt followed by suite and components, each after one space, got"
URL = "expected http[s]://HOST[:PORT]/PATH or file:///PATH, without user, query or fragment, got"


def test_repositories_are_urls_or_sections(directory: Path) -> None:
    """A repository is a URL, for apt with suite and components, or a section with a key."""
    text = (
        f"{SMALL}host:\n  repositories:\n  - http://a/os\n  - {{url: file:///d x main, key: k}}\n"
    )
    assert loaded(text).host.repositories == (
        Repository(url="http://a/os/"),
        Repository(url="file:///d/ x main", key=directory / "k"),
    )


PROBLEMS = [
    ("a/os", f"host.repositories[0].url: {URL} 'a/os'"),
    ("'http://a/  x'", f"host.repositories[0].url: {EXPECTED} 'http://a/  x'"),
    ("'http://a/ x [trusted=yes]'", f"host.repositories[0].url: {EXPECTED} 'http://a/ x [trusted"),
    ('"http://a/ x\\ndeb http://b/ x"', f"host.repositories[0].url: {EXPECTED} "),
]


@pytest.mark.parametrize(("written", "sentence"), PROBLEMS)
def test_invalid_repository_is_reported(written: str, sentence: str) -> None:
    """What is no URL, or would be an option or a second line for apt, is an error."""
    (problem,) = problems(f"{SMALL}host: {{repositories: [{written}]}}\n")
    assert sentence in problem


def test_host_of_spec_can_be_changed() -> None:
    """Options of a command stand for keys of the host, and are checked as they are."""
    spec = with_host(loaded(SMALL), {"repositories": ("http://a/os",), "system": "centos-7"})
    assert (spec.host.system, spec.host.repositories[0].url) == ("centos-7", "http://a/os/")
    with pytest.raises(SpecError, match=r"^host\.repositories\[0\]\.url: expected http"):
        with_host(spec, {"repositories": ("ftp://a",)})
