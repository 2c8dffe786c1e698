"""Units for systemd 219 and 252, and the list of directives that 219 supports."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
import yaml

from appliance import render, spec
from appliance.errors import SpecError
from appliance.render import lint
from appliance.spec import Spec
from appliance.spec.policy import Retention

BIN = Path(sys.executable).parent
SERVICES = ("pyindex.service", "pyindex-watch.service", "pyindex-backup.service")
# Highest exposure that `systemd-analyze security` may find, in tenths.
EXPOSURE = 15
MATRIX = list(
    itertools.product(
        ("centos-7", "debian-12"),
        ("socket", "port"),
        ([], ["alice"]),
        ("/srv/pyindex", "/srv/my 100%i/größe"),
    )
)
SYSTEMD = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")


def make(
    directory: Path,
    system: str = "debian-12",
    bind: str | None = None,
    upload: list[str] | None = None,
    base_directory: str = "/srv/pyindex",
    **server: object,
) -> Spec:
    data = {
        "url": "http://pypi.lab.example",
        "state": f"{base_directory}/state",
        "indexes": {
            "main": {"packages": f"{base_directory}/packages", "upload": upload or []},
            "other": {"packages": f"{base_directory}/other"},
        },
        "server": server | ({"bind": bind} if bind else {}),
        "backup": {"directory": f"{base_directory}/backup"},
        "host": {"system": system},
    }
    path = directory / "pyindex.yml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True))
    return spec.load(path)


def units(made: Spec) -> dict[str, str]:
    """Return the rendered units by name."""
    files = {PurePosixPath(file.path): file.content for file in render.files(made)}
    directory = PurePosixPath("/etc/systemd/system")
    return {path.name: text for path, text in files.items() if path.parent == directory}


def values_of(text: str, directive: str) -> list[str]:
    """Return all values of a directive in a unit."""
    return re.findall(rf"^{directive}=(.*)$", text, re.MULTILINE)


def make_root(root: Path, texts: dict[str, str]) -> Path:
    """Create a root directory with units, stubs of their programs, and local targets."""
    directory, targets = root / "etc/systemd/system", root / "usr/lib/systemd/system"
    directory.mkdir(parents=True)
    targets.mkdir(parents=True)
    for target in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(target, targets)
    for name, text in texts.items():
        (directory / name).write_text(text)
        for program in re.findall(r"^Exec\w+=[-+]*(\S+)", text, re.MULTILINE):
            stub = root / program[1:]
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.touch(0o755)
    return root


def verify(root: Path, *names: str) -> str:
    """Return the output of `systemd-analyze verify`, whose exit code says less."""
    command = ["systemd-analyze", "verify", f"--root={root}", "--man=no", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@SYSTEMD
@pytest.mark.parametrize(("system", "bind", "upload", "directory"), MATRIX)
def test_systemd_accepts_units(
    system: str, bind: str, upload: list[str], directory: str, tmp_path: Path
) -> None:
    """systemd accepts all units without a message except about the old name of MemoryMax."""
    texts = units(make(tmp_path, system, bind, upload, directory))
    messages = verify(make_root(tmp_path / "root", texts), *texts).splitlines()
    assert [line for line in messages if "please use MemoryMax=" not in line] == []


@SYSTEMD
def test_systemd_reports_unknown_directive(tmp_path: Path) -> None:
    """systemd reports an unknown directive, so the check of the units works."""
    texts = units(make(tmp_path))
    texts["pyindex.service"] += "NoSuch=thing\n"
    assert "'NoSuch' in section [Install]" in verify(make_root(tmp_path / "root", texts), *texts)


@SYSTEMD
@pytest.mark.parametrize("bind", ["socket", "port"])
@pytest.mark.parametrize("name", SERVICES)
def test_service_is_confined(name: str, bind: str, tmp_path: Path) -> None:
    """systemd measures a low exposure of each service for Debian 12."""
    unit = tmp_path / name
    unit.write_text(units(make(tmp_path, bind=bind, upload=["alice"]))[name])
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]

    def exposed(threshold: int) -> int:
        done = subprocess.run([*command, f"--threshold={threshold}", unit], capture_output=True)
        return done.returncode

    assert exposed(EXPOSURE) == 0
    assert exposed(1) == 1  # so the check works


@pytest.mark.parametrize(("system", "bind", "upload", "directory"), MATRIX)
def test_systemd_219_supports_all_directives(
    system: str, bind: str, upload: list[str], directory: str, tmp_path: Path
) -> None:
    """The lint finds no problem in units for CentOS 7 and some in units for Debian 12."""
    files = render.files(make(tmp_path, system, bind, upload, directory))
    problems = [
        lint.systemd_219(file.content) for file in files if file.path.startswith("/etc/systemd/")
    ]
    assert any(problems) == (system == "debian-12")


REFUSED = [
    ("ProtectSystem=strict", "has yes and full only"),
    ("ProtectHome=tmpfs", "has yes and read-only only"),
    ("Type=exec", "has no such type"),
    ("ExecStart=+/bin/true", "requires an absolute path, after - or @ at most"),
    ("ExecStart=true", "requires an absolute path, after - or @ at most"),
    ("StandardOutput=append:/x", "cannot write to a file"),
    ("WorkingDirectory=~", "requires a plain path"),
    ("RuntimeDirectory=a/b", "requires names without a slash"),
    ("MemoryLimit=50%", "has no percentages"),
]
UNKNOWN = [
    ("Service", "NoSuch"),
    ("Service", "ReadWritePaths"),
    ("Service", "SystemCallFilter"),  # not compiled in on CentOS 7
    ("Unit", "StartLimitBurst"),  # in [Service] in 219
    ("Socket", "TriggerLimitBurst"),
]
FINE = [
    "[Service]\nExecStart=-/bin/true --x=+1\n",
    "# ProtectSystem=strict\n\n[Service]\n; Type=exec\nProtectSystem=full\n",
    "[Service]\nExecStart=/bin/sh \\\n    NoSuch=thing \\\n  end\nType=notify\n",
    "[Timer]\nRandomizedDelaySec=1h\n[Service]\nTasksMax=5\nAmbientCapabilities=\n",
]


@pytest.mark.parametrize(("line", "why"), REFUSED)
def test_lint_reports_unsupported_value(line: str, why: str) -> None:
    """The lint reports values that systemd 219 would ignore."""
    complaint = f"line 2: Service.{line}: systemd 219 {why}"
    assert lint.systemd_219(f"[Service]\n{line}") == [complaint]


@pytest.mark.parametrize(("section", "directive"), UNKNOWN)
def test_lint_reports_unsupported_directive(section: str, directive: str) -> None:
    """The lint reports directives that systemd 219 lacks or reads in another section."""
    complaint = f"line 2: {section}.{directive} is unknown to systemd 219, or without effect there"
    assert lint.systemd_219(f"[{section}]\n{directive}=1") == [complaint]


def test_lint_reports_line_without_directive() -> None:
    """The lint reports a line that is not a directive."""
    assert lint.systemd_219("[Unit]\njust words") == ["line 2: 'just words' is not a directive"]


@pytest.mark.parametrize("text", FINE)
def test_lint_accepts_supported_directives(text: str) -> None:
    """The lint accepts comments, continued lines and directives that Red Hat backported."""
    assert lint.systemd_219(text) == []


WRITABLE = [
    # System, directive, directories that every service may write to.
    ("centos-7", "ReadWriteDirectories", "/dev/shm "),
    ("debian-12", "ReadWritePaths", ""),
]


@pytest.mark.parametrize(("system", "directive", "always"), WRITABLE)
def test_only_server_with_uploads_writes_packages(
    system: str, directive: str, always: str, tmp_path: Path
) -> None:
    """Only the server may write to a packages directory, and only one with uploads."""
    state, packages, backup = (
        f'"-/srv/pyindex/{name}"' for name in ("state", "packages", "backup")
    )
    expected = [f"{always}{state}", f"{always}{state}", f"{always}{state} {backup}"]
    texts = units(make(tmp_path, system))
    assert [values_of(texts[name], directive) for name in SERVICES] == [[each] for each in expected]
    expected[0] += f" {packages}"
    texts = units(make(tmp_path, system, upload=["alice"]))
    assert [values_of(texts[name], directive) for name in SERVICES] == [[each] for each in expected]


LISTENED = [
    ("debian-12", {}, "/run/pyindex/pyindex.sock"),
    ("centos-7", {}, "127.0.0.1:8080"),
    ("centos-7", {"bind": "socket"}, "/run/pyindex/pyindex.sock"),
    ("debian-12", {"bind": "port", "host": "::1", "port": 81}, "[::1]:81"),
]


@pytest.mark.parametrize(("system", "server", "listen"), LISTENED)
def test_socket_unit_listens_as_in_spec(
    system: str, server: dict[str, str | int], listen: str, tmp_path: Path
) -> None:
    """The socket unit listens on the socket or port from the spec; CentOS 7 defaults to a port."""
    text = units(make(tmp_path, system, **server))["pyindex.socket"]  # type: ignore[arg-type]
    assert values_of(text, "ListenStream") == [listen]


def test_units_reject_path_unsupported_by_systemd_219(tmp_path: Path) -> None:
    """Units for CentOS 7 reject a path that systemd 219 cannot read."""
    units(make(tmp_path, base_directory='/srv/"a"'))
    with pytest.raises(SpecError, match="cannot be written in a unit of systemd 219"):
        units(make(tmp_path, "centos-7", base_directory='/srv/"a"'))


def test_gunicorn_accepts_command_line(tmp_path: Path) -> None:
    """gunicorn accepts the command line of the unit with the spec's workers and threads."""
    made = make(tmp_path, base_directory="/srv/nowhere", workers=3, threads=5)
    (command,) = values_of(units(made)["pyindex.service"], "ExecStart")
    program, *options = shlex.split(command)
    done = subprocess.run(
        [BIN / PurePosixPath(program).name, "--print-config", *options],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYINDEX_SPEC": str(tmp_path / "pyindex.yml")},
    )
    settings = dict(re.findall(r"^(\w+) += (.*)$", done.stdout, re.MULTILINE))
    same = {
        "worker_class": "appliance.web.worker.Worker",
        "keepalive": "75",
        "control_socket_disable": "True",
    }
    assert settings | same | {"workers": "3", "threads": "5"} == settings
    (patience,) = values_of(units(made)["pyindex.service"], "TimeoutStopSec")
    assert int(patience) > int(settings["graceful_timeout"])


@pytest.mark.parametrize("system", ["centos-7", "debian-12"])
def test_gc_may_write_where_it_removes_releases(tmp_path: Path, system: str) -> None:
    """The service that runs `gc` may write to the packages directories of indexes with `keep`, and
    to no others."""
    made = make(tmp_path, system)
    assert "/srv/pyindex/packages" not in units(made)["pyindex-backup.service"]
    main = made.indexes["main"].model_copy(update={"keep": Retention(versions=2)})
    kept = made.model_copy(update={"indexes": {**made.indexes, "main": main}})
    unit = units(kept)["pyindex-backup.service"]
    assert "-/srv/pyindex/packages" in unit
    assert "/srv/pyindex/other" not in unit
