"""Rendered files, each read by the program that it is for: its words, not ours."""

import configparser
import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from appliance.render import escapes, lint, place
from appliance.render.host import HostFile
from appliance.render.layout import ANSWERS, LOGS, USER

_SECONDS = 60


@dataclass(frozen=True)
class Verdict:
    """Verdict of a program on a file. ``good`` is also true if no program here can judge it."""

    path: str
    program: str
    good: bool
    output: str


Files = Sequence[HostFile]


def check(files: Files, systemd: int) -> Iterator[Verdict]:
    """Yield a verdict on each file of a host, or on several that one program reads together.

    ``systemd`` is the version on the host: the systemd of this machine does not report directives
    that an older one lacks.
    """
    if systemd < 252:
        for file in files:
            if file.path.startswith("/etc/systemd/"):
                problems = "\n".join(lint.systemd_219(file.content))
                yield Verdict(
                    file.path, "directives of systemd 219", not problems, problems or "ok"
                )

    with tempfile.TemporaryDirectory(prefix="pyindex-check-") as name:
        root = Path(name).resolve()
        place.write(files, root)
        for pattern, program, judge in _JUDGES:
            judged = [file for file in files if re.search(pattern, file.path)]
            for group in [judged] if program == "systemd-analyze" else [[file] for file in judged]:
                if group:
                    yield _judged(group, program, judge, root)


def _judged(files: Files, program: str, judge: "_Judge", root: Path) -> Verdict:
    path = " ".join(file.path for file in files)
    if "/" not in program and not program.startswith("as ") and not shutil.which(program):
        return Verdict(path, program, True, "not installed here; not checked")
    try:
        output = judge(files, root)
    except (ValueError, ET.ParseError, yaml.YAMLError, configparser.Error) as error:
        output = str(error) or type(error).__name__
    except subprocess.TimeoutExpired:
        output = f"no answer within {_SECONDS} s"
    return Verdict(path, program, not output, output or "ok")


_Judge = Callable[[Files, Path], str]


def _run(*command: str, **environment: str) -> str:
    """Return the output of a program; empty if it exits with 0."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env={**os.environ, **environment},
    )
    return (done.stderr + done.stdout).strip() if done.returncode else ""


def _systemd(files: Files, root: Path) -> str:
    """Check all units together, since they name each other, with empty programs."""
    for file in files:
        for program in re.findall(r"^Exec\w+=[-@:+!]*([^\s\"]+)", file.content, re.M):
            _pretend(root / program.lstrip("/"))

    _pretend_users(root)
    directory = root / "usr/lib/systemd/system"
    directory.mkdir(parents=True, exist_ok=True)
    for target in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(target, directory)

    units = [PurePosixPath(file.path).name for file in files]
    options = (f"--root={root}", "--man=no", "--recursive-errors=no")  # else all is well, it says
    output = _run("systemd-analyze", "verify", *options, *units)
    # Directives for an old systemd are deprecated today.
    return "\n".join(line for line in output.splitlines() if "please use MemoryMax=" not in line)


def _pretend(program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch(mode=0o755)


def _pretend_users(root: Path) -> None:
    names = (("root", 0), (USER, 990), ("nginx", 991), ("www-data", 33))
    (root / "etc/passwd").write_text("".join(f"{n}:x:{i}:{i}::/:/bin/sh\n" for n, i in names))
    (root / "etc/group").write_text("".join(f"{n}:x:{i}:\n" for n, i in names))


def _tmpfiles(files: Files, root: Path) -> str:
    _pretend_users(root)
    return _run("systemd-tmpfiles", "--create", f"--root={root}", PurePosixPath(files[0].path).name)


def _nginx(files: Files, root: Path) -> str:
    """Check the site, with logs, cache and missing certificates replaced by paths in ``root``."""
    text = files[0].content.replace(f"{LOGS}/", f"{root}/")
    text = text.replace(f'"{ANSWERS}-', f'"{root}/answers-')
    for directive, word in re.findall(r"(ssl_certificate\w*) (\".*\");", text):
        if not Path(json.loads(word)).exists():
            text = text.replace(word, escapes.nginx(_stand_in(root, directive)))

    (root / "site.conf").write_text(text)
    (root / "nginx.conf").write_text(
        f"pid {root}/nginx.pid;\nerror_log stderr;\nevents {{ }}\nhttp {{\n"
        + "".join(
            f"{kind}_temp_path {root}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"include {root}/site.conf;\n}}\n"
    )

    return _run("nginx", "-t", "-c", f"{root}/nginx.conf")


def _stand_in(root: Path, directive: str) -> Path:
    """Create a temporary certificate and key; returns the path of one."""
    certificate, key = root / "ssl_certificate", root / "ssl_certificate_key"
    if not key.exists():
        subject = ("-subj", "/CN=check", "-keyout", str(key), "-out", str(certificate))
        if output := _run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject):
            raise ValueError(output)
    return root / directive


def _supervisor(files: Files, root: Path) -> str:
    """Check with supervisor's own parser, in its own Python, whatever its version."""
    (root / "supervisord.conf").write_text(
        f"[supervisord]\nlogfile={root}/log\n[include]\nfiles={place.below(root, files[0])}\n"
    )

    first = Path(shutil.which("supervisord") or "").read_text(errors="replace").partition("\n")[0]
    python = first.removeprefix("#!").split()

    code = (
        "import pwd, sys\n"
        "from supervisor import options\n"
        "options.name_to_uid = lambda name: 0\n"  # the host's user is not here
        "options.existing_dirpath = options.existing_directory = lambda path: path\n"
        "options.ServerOptions().realize(['-c', sys.argv[1]])\n"
    )
    return _run(*(python or ["python3"]), "-c", code, f"{root}/supervisord.conf")


def _logrotate(files: Files, root: Path) -> str:
    rules = place.below(root, files[0])
    # The host's user may not be known here.
    rules.write_text(re.sub(r"(create \d+) \S+", r"\1 root", files[0].content))
    command = ("logrotate", "--debug", "--state", f"{root}/state", str(rules))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    return "\n".join(line for line in done.stderr.splitlines() if line.startswith("error:"))


def _parsed(parse: Callable[[str], object]) -> _Judge:
    def judge(files: Files, root: Path) -> str:
        parse(files[0].content)
        return ""

    return judge


_JUDGES: tuple[tuple[str, str, _Judge], ...] = (
    (r"^/etc/systemd/system/pyindex", "systemd-analyze", _systemd),
    (r"^/etc/tmpfiles\.d/", "systemd-tmpfiles", _tmpfiles),
    (r"^/etc/nginx/", "nginx", _nginx),
    (r"^/etc/supervisor", "supervisord", _supervisor),
    (r"^/etc/logrotate\.d/", "logrotate", _logrotate),
    (r"\.xml$", "as XML", _parsed(ET.fromstring)),
    (r"\.json$", "as JSON", _parsed(json.loads)),
    (r"\.toml$", "as TOML", _parsed(tomllib.loads)),
    (r"\.yml$", "as YAML", _parsed(yaml.safe_load)),
    (r"/pip\.conf$", "as INI", _parsed(lambda text: configparser.ConfigParser().read_string(text))),
)
