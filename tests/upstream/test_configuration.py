"""Which upstreams are chosen: the order of sources, pip's and uv's rules, and errors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.inputs.demand import Options
from appliance.spec import IndexSection, Spec, Upstream
from appliance.upstream import (
    Credential,
    Network,
    Upstreams,
    choose,
    pipconfig,
    uv_arguments,
    uv_environment,
)

NONE = Options()
NO_PIP = {"PIP_CONFIG_FILE": os.devnull}
A, B, C = (f"https://{letter}.example/simple/" for letter in "abc")


def spec(*upstreams: Upstream) -> Spec:
    index = IndexSection(packages=Path("/packages"))
    return Spec(state=Path("/state"), indexes={"main": index}, upstreams=upstreams)


def chosen(
    line: Options = NONE,
    own: Options = NONE,
    of: Spec | None = None,
    variables: Mapping[str, str] = NO_PIP,
) -> Upstreams:
    return choose(line, own, of, {**os.environ, **NO_PIP, **variables})


ONE = Options(index_url=A)
EXTRA = Options(extra_index_urls=(B,))
LINKS = Options(find_links=("https://l.example/",))
LISTED = spec(Upstream(url=A), Upstream(url=B))
OF_PIP = {"PIP_INDEX_URL": C}
# (command line, input, spec, environment, indexes, whether merged, find-links)
Case = tuple[Options, Options, Spec | None, dict[str, str], tuple[str, ...], bool, tuple[str, ...]]
SOURCES: dict[str, Case] = {
    "command line": (ONE, Options(index_url=B), LISTED, OF_PIP, (A,), False, ()),
    "input": (NONE, ONE, LISTED, OF_PIP, (A,), False, ()),
    "spec": (NONE, NONE, LISTED, OF_PIP, (A, B), False, ()),
    "pip": (NONE, NONE, None, OF_PIP, (C,), False, ()),
    "both of one source": (
        Options(index_url=A, extra_index_urls=(B, C)),
        NONE,
        None,
        OF_PIP,
        (A, B, C),
        True,
        (),
    ),
    "extra index and pip": (EXTRA, NONE, None, OF_PIP, (B, C), True, ()),
    "extra index and spec": (
        NONE,
        Options(extra_index_urls=(C,)),
        LISTED,
        {},
        (C, A, B),
        False,
        (),
    ),
    "find-links and pip": (LINKS, NONE, None, OF_PIP, (C,), False, ("https://l.example/",)),
    "no index": (
        NONE,
        Options(no_index=True, find_links=LINKS.find_links, index_url=A),
        LISTED,
        OF_PIP,
        (),
        False,
        ("https://l.example/",),
    ),
    "no index, in spite of extra ones": (
        EXTRA,
        Options(no_index=True),
        None,
        OF_PIP,
        (),
        False,
        (),
    ),
    "no index of pip": (NONE, NONE, None, OF_PIP | {"PIP_NO_INDEX": "1"}, (), False, ()),
    "uv": (
        NONE,
        NONE,
        None,
        {"UV_DEFAULT_INDEX": A, "UV_INDEX": f"{B} lab={C}"},
        (B, C, A),
        False,
        (),
    ),
    "old uv": (NONE, NONE, None, {"UV_INDEX_URL": A}, (A,), False, ()),
    "pip before uv": (NONE, NONE, None, OF_PIP | {"UV_DEFAULT_INDEX": A}, (C,), False, ()),
    "same twice": (
        Options(index_url=A, extra_index_urls=(A[:-1],)),
        NONE,
        None,
        {},
        (A,),
        False,
        (),
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_sources_have_order(case: str) -> None:
    """The first source that names an index ends the search; extras before it are added."""
    line, own, of, variables, indexes, is_merged, find_links = SOURCES[case]
    upstreams = chosen(line, own, of, variables)
    assert (upstreams.indexes, upstreams.is_merged) == (indexes, is_merged)
    assert upstreams.find_links == find_links


def test_credentials_are_separate(tmp_path: Path) -> None:
    """Users and passwords come from URLs and from files that the spec names, and are in no text."""
    password = tmp_path / "password"
    password.write_text("p@ss\nword\n")
    of = spec(Upstream(url=B, username="bob", password_file=password))
    upstreams = chosen(
        Options(extra_index_urls=("https://al%40ice:s%2Fecret@a.example/simple",)), of=of
    )
    assert upstreams.indexes == (A, B)
    assert set(upstreams.credentials) == {
        Credential(A, "al@ice", "s/ecret"),
        Credential(B, "bob", "p@ss"),
    }
    assert not re.search("secret|p@ss|ice", f"{upstreams!r} {upstreams} {upstreams.credentials!r}")


FAULTS: dict[str, tuple[Options, dict[str, str], str]] = {
    "no URL": (
        Options(index_url="index.example"),
        {},
        "command line: expected a URL such as https://index.example/simple/, got 'index.example';"
        " correct it",
    ),
    "no scheme that is known": (
        Options(index_url="ftp://u:secret@index.example/"),
        {},
        "command line: expected a URL such as https://index.example/simple/,"
        " got 'ftp://...@index.example/'; correct it",
    ),
    "timeout": (
        ONE,
        {"PIP_TIMEOUT": "soon"},
        "pip's configuration: timeout: expected a number of seconds, got 'soon'; correct it",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_reported(fault: str) -> None:
    """A faulty source is an error that names it, without a password."""
    line, variables, message = FAULTS[fault]
    with pytest.raises(PyindexError) as caught:
        chosen(line, variables=variables)
    assert str(caught.value) == message


def test_missing_password_file_is_reported(tmp_path: Path) -> None:
    """A password file that cannot be read is an error with its path."""
    file = tmp_path / "none"
    with pytest.raises(PyindexError) as caught:
        chosen(of=spec(Upstream(url=A, username="bob", password_file=file)))
    problem = "No such file or directory; correct password_file in the spec"
    assert str(caught.value) == f"{file}: {problem}"


@pytest.mark.parametrize("content", ["index-url = x", "[global\n", "[global]\na\n"])
def test_bad_configuration_of_pip_is_reported(tmp_path: Path, content: str) -> None:
    """A configuration that pip cannot read is an error with its path."""
    file = tmp_path / "pip.conf"
    file.write_text(content)
    with pytest.raises(PyindexError, match=r"^.*/pip\.conf: not a configuration of pip: "):
        chosen(variables={"PIP_CONFIG_FILE": str(file)})


def test_no_index_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any configuration and without pip there is no index."""
    monkeypatch.setattr(pipconfig, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PyindexError) as caught:
        chosen()
    assert str(caught.value) == (
        "upstreams: no index is configured; pass --index-url URL, add `upstreams` to the spec, or"
        " set index-url in pip's configuration"
    )


# --- as pip does ---------------------------------------------------------------------------------


# The option parser of pip, with the environments that are lines of JSON in its input.
PIP = """
import json, os, sys
from pip._internal.commands import create_command
for line in sys.stdin:
    os.environ.clear()
    os.environ.update(json.loads(line))
    print(create_command("download").parser.get_default_values().index_url)
"""


@pytest.mark.integration
def test_default_is_that_of_pip() -> None:
    """Without any configuration the index is the one that pip has built in."""
    program = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    default = subprocess.check_output([sys.executable, "-c", program], text=True).strip()
    assert chosen().indexes == (f"{default}/",)


# (files below the home directory, environment)
CONFIGURATIONS: list[tuple[Mapping[str, str], Mapping[str, str]]] = [
    ({".config/pip/pip.conf": f"[global]\nindex-url = {A}\n"}, {}),
    ({".pip/pip.conf": f"[global]\nindex_url = {A}\n"}, {}),
    ({".pip/pip.conf": f"[global]\nindex-url = {A}\n", ".config/pip/pip.conf": ""}, {}),
    (
        {
            ".pip/pip.conf": f"[global]\nindex-url = {A}\n",
            ".config/pip/pip.conf": f"[global]\nindex-url = {B}\n",
        },
        {},
    ),
    ({".config/pip/pip.conf": f"[global]\nindex-url={A}\n[download]\nindex-url={B}\n"}, {}),
    ({".config/pip/pip.conf": f"[install]\nindex-url={A}\n"}, {"PIP_INDEX_URL": B}),
    ({".config/pip/pip.conf": f"[global]\nindex-url={A}\n"}, {"PIP_INDEX_URL": B}),
    ({".config/pip/pip.conf": f"[global]\nindex-url={A}\n"}, {"PIP_INDEX_URL": ""}),
    ({".config/pip/pip.conf": f"[global]\nindex-url={A}\n"}, {"PIP_CONFIG_FILE": "HOME/own.conf"}),
    (
        {
            ".config/pip/pip.conf": f"[global]\nindex-url={A}\n",
            "own.conf": f"[global]\nindex-url={B}\n",
        },
        {"PIP_CONFIG_FILE": "HOME/own.conf"},
    ),
    ({".config/pip/pip.conf": f"[global]\nindex-url={A}\n"}, {"PIP_CONFIG_FILE": os.devnull}),
    ({"xdg/pip/pip.conf": f"[global]\nindex-url={A}\n"}, {"XDG_CONFIG_HOME": "HOME/xdg"}),
    ({"xdg/pip/pip.conf": f"[global]\nindex-url={A}\n"}, {"XDG_CONFIG_DIRS": "HOME/xdg"}),
]


@pytest.mark.integration
def test_configuration_of_pip_is_read_as_by_pip(tmp_path: Path) -> None:
    """The index is the one that pip itself would use."""
    environments: list[dict[str, str]] = []
    for number, (files, variables) in enumerate(CONFIGURATIONS):
        home = tmp_path / str(number)
        for name, content in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(content)
        own = {name: text.replace("HOME", str(home)) for name, text in variables.items()}
        environments.append({**os.environ, "HOME": str(home), **own})

    lines = "\n".join(map(json.dumps, environments))
    command = [sys.executable, "-c", PIP]
    theirs = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    default = pipconfig.default_index(os.environ)
    ours = [
        pipconfig.options(pipconfig.read(environment)).index_url or default
        for environment in environments
    ]
    assert ours == theirs.splitlines()


def test_other_settings_of_pip_are_read(home: Path) -> None:
    """Proxies, certificates, hosts and times come from pip's configuration."""
    (home / "pip.conf").write_text(
        f"[global]\nindex-url = {A}\nextra-index-url =\n  {B}\n  {C}\nfind-links = {home}\n"
        "trusted-host = a.example\n  b.example:8443\ncert = /ca.pem\nclient-cert = /own.pem\n"
        "proxy = proxy.example:3128\ntimeout = 7\nkeyring-provider = disabled\n"
    )
    upstreams = chosen(variables={"PIP_CONFIG_FILE": str(home / "pip.conf")})
    proxy = "http://proxy.example:3128"
    assert upstreams == Upstreams(
        (A, B, C),
        True,
        (home.as_uri(),),
        (),
        Network(
            trusted_hosts=("a.example", "b.example:8443"),
            ca=Path("/ca.pem"),
            client_certificate=Path("/own.pem"),
            proxies={"http": proxy, "https": proxy},
            timeout_seconds=7,
            has_keyring=False,
        ),
    )


# --- uv ------------------------------------------------------------------------------------------


def test_configuration_of_uv_is_read(home: Path) -> None:
    """The indexes of uv come from its file, and a login from its environment."""
    directory = home / ".config" / "uv"
    directory.mkdir(parents=True)
    (directory / "uv.toml").write_text(
        f'find-links = ["https://l.example/"]\n'
        f'[[index]]\nurl = "{A}"\ndefault = true\n[[index]]\nurl = "{B}"\n'
        f'[[index]]\nurl = "{C}"\nexplicit = true\n'
    )
    upstreams = chosen()
    assert (upstreams.indexes, upstreams.is_merged) == ((B, A), False)
    assert upstreams.find_links == ("https://l.example/",)

    login = {"UV_INDEX_MY_LAB_USERNAME": "bob", "UV_INDEX_MY_LAB_PASSWORD": "x"}
    upstreams = chosen(variables={"UV_DEFAULT_INDEX": f"my-lab={C}", **login})
    assert upstreams.credentials == (Credential(C, "bob", "x"),)


@pytest.mark.parametrize(
    "content", ["[", "index = 7", "[[index]]\nname = 'x'", "index-url = 7", "find-links = 'x'"]
)
def test_bad_configuration_of_uv_is_reported(tmp_path: Path, content: str) -> None:
    """A configuration that uv cannot read is an error with its path."""
    file = tmp_path / "uv.toml"
    file.write_text(content)
    with pytest.raises(PyindexError) as caught:
        chosen(variables={"UV_CONFIG_FILE": str(file)})
    assert str(caught.value) == f"{file}: not a configuration of uv; correct it"


def test_environment_of_uv() -> None:
    """uv gets all of it in its environment."""
    login = Credential(B, "bob", "p@ss")
    network = Network(("b.example",), Path("/ca.pem"), None, {"https": "http://p.example"}, 7)
    upstreams = Upstreams((A, B), True, ("https://l.example/",), (login,), network)
    proxies = {"HTTPS_PROXY": "http://p.example", "https_proxy": "http://p.example"}
    private = "https://bob:p%40ss@b.example/simple/"
    assert uv_environment(upstreams) == {
        "UV_INDEX": A,
        "UV_DEFAULT_INDEX": private,
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "https://l.example/",
        "UV_INSECURE_HOST": "b.example",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_HTTP_TIMEOUT": "7",
        "SSL_CERT_FILE": "/ca.pem",
        **proxies,
    }
    assert uv_arguments(Upstreams()) == ("--no-index",)
    assert uv_arguments(upstreams) == ()
