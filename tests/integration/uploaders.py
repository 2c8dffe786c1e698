"""Real upload clients: how each is called, and an index that accepts their uploads."""

import http.client
import random
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import yaml

from appliance import render, spec
from benchmarks.ports import HOST, free_port
from tests.dist import make_wheel
from tests.integration.clients import Environment
from tests.integration.servers import PYINDEX
from tests.nginx.certificates import certificate
from tests.nginx.servers import PATIENCE, running, serving

PASSWORDS = {"alice": "wonderland", "carol": "sings"}
LIMIT = 100 * 1024
PUBLIC = "https://pypi.example.org"
"""The URL of the index in documentation."""


@dataclass(frozen=True)
class Target:
    """Index that accepts uploads of alice: its URL, and the certificates to trust with HTTPS."""

    url: str
    ca: str | None
    packages: Path

    @property
    def endpoint(self) -> str:
        return f"{self.url}/legacy/"

    @property
    def variables(self) -> dict[str, str]:
        """Return variables by which the programs of a client trust the index."""
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "TWINE_CERT")
        trust = dict.fromkeys(names, self.ca) if self.ca else {}
        return {"no_proxy": f"{HOST},localhost", **trust}


@contextmanager
def embedded(directory: Path, read: str = "everyone") -> Iterator[Target]:
    """Run the embedded server over plain HTTP; ``read`` is who may read the index."""
    port = free_port()
    with _serving(directory, port, {"url": f"http://{HOST}:{port}"}, read) as packages:
        yield Target(f"http://{HOST}:{port}", None, packages)


@contextmanager
def behind_nginx(directory: Path) -> Iterator[Target]:
    """Run nginx with HTTPS as it is rendered, before the embedded server."""
    port, own = free_port(), free_port()
    tls = certificate(directory, "DNS:localhost")  # Python 2.7 finds no address in a certificate
    url = f"https://localhost:{port}"
    settings: dict[str, object] = {"url": url, "nginx": {"tls": tls}}
    with _serving(directory, own, settings) as packages:
        site = render.nginx(spec.load(directory / "pyindex.yml"), HOST)
        with serving(directory / "nginx", site):
            yield Target(url, tls["ca"], packages)


@contextmanager
def _serving(
    directory: Path, port: int, settings: dict[str, object], read: str = "everyone"
) -> Iterator[Path]:
    """Run `pyindex serve` with a spec of these ``settings``; yield the packages directory."""
    (packages := directory / "packages").mkdir()
    hashes = {
        name: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)) for name, word in PASSWORDS.items()
    }
    lines = [f"{name}:{text.decode()}\n" for name, text in hashes.items()]
    (directory / "htpasswd").write_text("".join(lines))

    nginx = dict(settings.pop("nginx", {}))  # type: ignore[call-overload]
    whole = settings | {
        "state": "state",
        "accounts": {"htpasswd": "htpasswd"},
        "indexes": {"main": {"packages": "packages", "upload": ["alice"], "read": [read]}},
        "server": {"port": port},
        "nginx": nginx | {"max_upload": f"{LIMIT // 1024}k"},
    }
    path = directory / "pyindex.yml"
    path.write_text(yaml.safe_dump(whole))
    serve = [str(PYINDEX), "serve", "--spec", str(path), "--no-nginx"]
    with running(serve, directory / "serve.log", lambda: _is_ready(port)):
        yield packages


def _is_ready(port: int) -> bool:
    """Return whether the index is scanned and published."""
    try:
        with closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
    except OSError:
        return False


# --- what is uploaded ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One call of a client: a directory with what it uploads, and the login."""

    directory: Path
    name: str
    version: str
    account: str = "alice"
    password: str = PASSWORDS["alice"]


def _noise() -> str:
    """Return text that compresses to more bytes than may be uploaded."""
    return random.Random(0).randbytes(2 * LIMIT).hex()


def prepare(attempt: Attempt, situation: str) -> None:
    """Write a project and its wheel into the directory of an attempt."""
    directory, name, version = attempt.directory, attempt.name, attempt.version
    module = name.replace("-", "_")
    text = f'"""Demo: {"other" if situation == "other bytes" else "first"}."""\n'
    text += f"__version__ = {version!r}\n"
    if situation == "too large":
        text += f"x = {_noise()!r}\n"
    (directory / "dist").mkdir(parents=True)
    (directory / f"{module}.py").write_text(text)
    (directory / "README").write_text("demo\n")
    (directory / "setup.py").write_text(_SETUP.format(name=name, version=version, module=module))
    (directory / "pyproject.toml").write_text(_PYPROJECT.format(name=name, version=version))

    wheel = make_wheel(directory / "dist", name, version, modules={module: text})
    if situation == "bad archive":
        with zipfile.ZipFile(wheel, "a") as archive, warnings.catch_warnings(action="ignore"):
            archive.writestr(f"{module}.py", "another content of the same member")


_SETUP = """\
try:
    from setuptools import setup
except ImportError:
    from distutils.core import setup
setup(name={name!r}, version={version!r}, py_modules=[{module!r}], url="http://example.org/",
      author="Alice", author_email="alice@example.org", description="Demo")
"""
_PYPROJECT = """\
[project]
name = "{name}"
version = "{version}"
description = "Demo"
authors = [{{name = "Alice", email = "alice@example.org"}}]

[build-system]
requires = ["flit_core >=3.2,<5"]
build-backend = "flit_core.buildapi"
"""

# --- clients -------------------------------------------------------------------------------------

Command = tuple[Sequence[str | Path], Mapping[str, str]]
"""Arguments of Python, and variables."""


@dataclass(frozen=True)
class Uploader:
    """An upload client.

    Attributes:
        title: Its name in documentation.
        client: Its environment.
        command: Returns how it is called for an attempt.
        builds: Whether it builds what it uploads: then there is no damaged file.
        repeats: Whether a second build gives the same bytes.
    """

    title: str
    client: str
    command: Callable[[Attempt, Target], Command]
    builds: bool = False
    repeats: bool = True

    def run(self, environment: Environment, attempt: Attempt, target: Target) -> tuple[int, str]:
        """Upload; return the exit status and the output."""
        (environment.home / ".pypirc").write_text(
            f"[distutils]\nindex-servers = lab\n\n[lab]\nrepository = {target.endpoint}\n"
            f"username = {attempt.account}\npassword = {attempt.password}\n"
        )
        arguments, variables = self.command(attempt, target)
        return environment.outcome(
            *arguments, cwd=attempt.directory, variables={**target.variables, **variables}
        )


def _wheel(attempt: Attempt) -> Path:
    (wheel,) = (attempt.directory / "dist").glob("*.whl")
    return wheel


def _twine(attempt: Attempt, target: Target) -> Command:
    login = ("-u", attempt.account, "-p", attempt.password)
    command = ("-m", "twine", "upload", "--repository-url", target.endpoint, *login)
    return (*command, "--disable-progress-bar", _wheel(attempt)), {"COLUMNS": "300"}


def _old_twine(attempt: Attempt, target: Target) -> Command:
    arguments, variables = _twine(attempt, target)
    return [each for each in arguments if each != "--disable-progress-bar"], variables


def uv(attempt: Attempt, target: Target) -> Command:
    login = ("-u", attempt.account, "-p", attempt.password)
    command = ("-m", "uv", "publish", "--no-config", "--publish-url", target.endpoint, *login)
    return (*command, _wheel(attempt)), {"UV_NO_PROGRESS": "1"}


def _checking_uv(attempt: Attempt, target: Target) -> Command:
    (*arguments, wheel), variables = uv(attempt, target)
    return (*arguments, "--check-url", f"{target.url}/simple/", wheel), variables


def _poetry(attempt: Attempt, target: Target) -> Command:
    variables = {
        "POETRY_REPOSITORIES_LAB_URL": target.endpoint,
        "POETRY_HTTP_BASIC_LAB_USERNAME": attempt.account,
        "POETRY_HTTP_BASIC_LAB_PASSWORD": attempt.password,
        "POETRY_KEYRING_ENABLED": "false",
        "POETRY_VIRTUALENVS_CREATE": "false",
    }
    if target.ca:
        variables["POETRY_CERTIFICATES_LAB_CERT"] = target.ca
    return ("-m", "poetry", "publish", "--no-interaction", "--repository", "lab"), variables


def _pdm(attempt: Attempt, target: Target) -> Command:
    login = ("-u", attempt.account, "-P", attempt.password)
    trust = ("--ca-certs", target.ca) if target.ca else ()
    command = ("-m", "pdm", "publish", "--no-build", "-r", target.endpoint, *login, *trust)
    return command, {"PDM_CHECK_UPDATE": "false"}


def _hatch(attempt: Attempt, target: Target) -> Command:
    login = ("-u", attempt.account, "-a", attempt.password)
    trust = ("--ca-cert", target.ca) if target.ca else ()
    command = ("-m", "hatch", "publish", "--no-prompt", "-r", target.endpoint, *login, *trust)
    return (*command, _wheel(attempt)), {}


def _flit(attempt: Attempt, target: Target) -> Command:
    variables = {
        "FLIT_INDEX_URL": target.endpoint,
        "FLIT_USERNAME": attempt.account,
        "FLIT_PASSWORD": attempt.password,
        "SOURCE_DATE_EPOCH": "1600000000",
    }
    shutil.rmtree(attempt.directory / "dist", ignore_errors=True)
    return ("-m", "flit", "publish", "--format", "wheel", "--no-use-vcs"), variables


def _setup(attempt: Attempt, target: Target) -> Command:
    return ("setup.py", "sdist", "upload", "-r", "lab"), {}


def _register(attempt: Attempt, target: Target) -> Command:
    return ("setup.py", "register", "-r", "lab", "sdist", "upload", "-r", "lab"), {}


def _distutils(attempt: Attempt, target: Target) -> Command:
    """A `setup.py` that does not know setuptools."""
    path = attempt.directory / "setup.py"
    path.write_text(path.read_text().replace("setuptools", "no_setuptools"))
    return _register(attempt, target)


UPLOADERS = [
    Uploader("twine", "twine", _twine),
    Uploader("twine 1.15 (Python 2.7)", "twine-1.15.0-py2.7", _old_twine),
    Uploader("uv publish", "uv", uv),
    Uploader("uv publish --check-url", "uv", _checking_uv),
    Uploader("poetry", "poetry", _poetry),
    Uploader("pdm", "pdm", _pdm),
    Uploader("hatch", "hatch", _hatch),
    Uploader("flit", "flit", _flit, builds=True),
    Uploader("setup.py, setuptools 41 (2.7)", "easy_install-py2.7", _setup, True, False),
    Uploader("setup.py, distutils (2.7)", "easy_install-py2.7", _distutils, True, False),
    Uploader("setup.py, setuptools 40 (3.6)", "setuptools-py3.6", _register, True, False),
]

# --- what a person sees --------------------------------------------------------------------------

_COLORS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BOXES = re.compile("[\u2500-\u257f]+")
_TELLING = re.compile(r"\b(?:4\d\d|200)\b|error|already exists|skipping|skipped", re.IGNORECASE)
_ASIDE = re.compile(r"deprecated|For more information|\d%")
_LONGEST = 170


def shown(output: str, target: Target) -> str:
    """Return the end of a client's output, which says what became of the upload."""
    text = _BOXES.sub(" ", _COLORS.sub("", output)).replace("\r", "\n")
    lines = [" ".join(line.split()) for line in text.replace(target.url, PUBLIC).splitlines()]
    lines = [line for line in lines if line and not _ASIDE.search(line)]
    telling = [number for number, line in enumerate(lines) if _TELLING.search(line)]
    line = " ".join(lines[max(telling) :]) if telling else lines[-1]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
