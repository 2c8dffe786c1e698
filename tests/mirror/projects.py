"""Projects to build, with a build backend of their own that needs nothing of an index."""

import base64
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "{version}"
"""
# It writes each of its runs and its environment to the file trace, if there is a directory for it.
_BACKEND = """
import hashlib, os, sys, time, zipfile
{first}
name, version, requires, tag, trace = {facts!r}


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open(trace, "a") as file:
        file.write(" ".join(sorted(os.environ)) + chr(10))
    info = f"{{name}}-{{version}}.dist-info"
    requires_lines = "".join(f"Requires-Dist: {{each}}" + chr(10) for each in requires)
    files = {{
        f"{{name}}.py": "x = 1",
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: {{version}}\\n"
        + requires_lines,
        f"{{info}}/WHEEL": f"Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\n"
        f"Tag: {{tag}}\\n",
    }}
    record = f"{{info}}/RECORD"
    files[record] = "".join(f"{{each}},," + chr(10) for each in (*files, record))
    stamp = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]
    filename = f"{{name}}-{{version}}-{{tag}}.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, stamp), text)
    return filename
"""
NATIVE = f"cp3{sys.version_info[1]}-cp3{sys.version_info[1]}-linux_{os.uname().machine}"


def write_project(
    directory: Path,
    name: str,
    trace: Path,
    *,
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    first: str = "",
) -> Path:
    """Write a project whose build adds a line to *trace*; *first* is code that runs before."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(_PYPROJECT.format(name=name, version=version))
    facts = (name.replace("-", "_"), version, requires, tag, str(trace))
    backend = _BACKEND.format(facts=facts, first=dedent(first))
    (directory / "backend.py").write_text(backend)
    return directory


def write_sdist(directory: Path, project: Path, name: str, version: str = "1.0") -> Path:
    """Pack a project as ``<name>-<version>.tar.gz``."""
    top = f"{name}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (project / "PKG-INFO").write_text(metadata)
    path = directory / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(project, arcname=top, filter=_plain)
    return path


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith("__pycache__") else member


def commit(directory: Path, tag: str | None = None) -> str:
    """Commit all files of a directory, as a repository on the branch main; return the commit."""
    if not (directory / ".git").exists():
        git(directory, "init", "--quiet", "--initial-branch", "main")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", "x")
    if tag is not None:
        git(directory, "tag", "--annotate", tag, "--message", "x")
    return git(directory, "rev-parse", "HEAD")


def git(directory: Path, *words: str) -> str:
    """Run git in a directory; return what it prints."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    command = ["git", *who, "-C", str(directory), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def file_server(directory: Path, user: str, password: str) -> Iterator[int]:
    """Serve a directory to those who send a login; yields the port."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == expected:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
