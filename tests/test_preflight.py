"""What a play examines on a machine before it changes any, by the Pythons that hosts have."""

import errno
import hashlib
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import pair
from tests.integration.clients import interpreter

SCRIPTS = Path(__file__).parent.parent / "ansible/roles/base/files"
SYSTEM_PACKAGES = Path(__file__).parent / "system-packages"
MACHINE = {"machine": "the host", "remedy": "renew it"}


@pytest.fixture(params=["3", "2.7"])
def python(request: pytest.FixtureRequest) -> str:
    """This Python, and that of CentOS 7."""
    return sys.executable if request.param == "3" else str(interpreter(request.param))


def run(python: str, name: str, request: dict[str, object]) -> Any:
    """What a script prints for a request; a play gives it to a Python by standard input, too."""
    command = (python, "-", json.dumps(request))
    with (SCRIPTS / name).open() as script:
        done = subprocess.run(command, stdin=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def problems(python: str, **request: object) -> list[str]:
    listed: list[str] = run(python, "preflight.py", request)
    return listed


def candidates(python: str, *packages: dict[str, object], **request: object) -> dict[str, Any]:
    repositories = {"kind": "deb", "yum": [], "unused": []}
    given = {"packages": packages, "supplied": {}, "repositories": repositories} | request
    result: dict[str, Any] = run(python, "candidates.py", given)
    return result


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def is_free(address: str, port: int) -> bool:
    """Whether the kernel lets a second program listen there, as nginx does."""
    with socket.socket(family(address)) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            other.bind((address, port))
        except OSError as error:
            assert error.errno == errno.EADDRINUSE
            return False
        return True


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::1", "::", ":: without IPv4"])
def test_program_at_a_port_is_named(python: str, bound: str) -> None:
    """A program at a port is a problem where the kernel lets no second one listen."""
    name = Path("/proc/self/comm").read_text().strip()
    for wanted in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"):
        with listening(bound) as held:
            port = held.getsockname()[1]
            expected = is_free(wanted, port)
            at = f"[{wanted}]" if ":" in wanted else wanted
            listed = problems(python, listening=[f"{at}:{port}"])
        taken = f"port {port} is taken by {name} (pid {os.getpid()}); stop it, or choose another"
        assert listed == ([] if expected else [f"{taken} port in the spec"])


def listening(address: str) -> socket.socket:
    """A socket at a free port; that of :: has IPv4, too, unless it says so."""
    address, _, without = address.partition(" ")
    is_both = address == "::" and not without
    return socket.create_server((address, 0), family=family(address), dualstack_ipv6=is_both)


# (what systemctl prints of our socket, address of a socket of process 1, whether it is ours)
SOCKETS = [
    ("Listen=127.0.0.1:8080 (Stream)", "127.0.0.1", True),  # systemd 252
    ("ListenStream=127.0.0.1:8080", "127.0.0.1", True),  # systemd 219
    ("Listen=[::1]:8080 (Stream)", "::1", True),
    ("Listen=127.0.0.1:80801 (Stream)", "127.0.0.1", False),
    ("Listen=1127.0.0.1:8080 (Stream)", "127.0.0.1", False),
    ("", "127.0.0.1", False),  # no such unit
]


@pytest.mark.parametrize(("printed", "address", "is_ours"), SOCKETS)
def test_socket_that_systemd_holds_for_pyindex_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, address: str, is_ours: bool
) -> None:
    """Process 1 holds the sockets of all units: that of pyindex.socket is no other program's."""
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho '{printed}'\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = runpy.run_path(str(SCRIPTS / "preflight.py"))
    assert script["is_ours"](1, address, 8080) is is_ours


def test_disk_without_space_is_named_with_what_needs_it(python: str, tmp_path: Path) -> None:
    """The needs of one file system are added; what is installed needs nothing."""
    free = shutil.disk_usage(tmp_path).free >> 19  # twice: other programs delete files, too
    release = {"path": str(tmp_path / "opt"), "mib": free, "use": "a release"}
    state = {"path": str(tmp_path / "state"), "mib": 5, "use": "catalog"}
    assert problems(python, space=[state]) == []
    (text,) = problems(python, space=[release, state])
    assert text.startswith(f"{tmp_path}/opt: only ")
    uses = f"(a release {free} MiB in {tmp_path}/opt, catalog 5 MiB in {tmp_path}/state)"
    assert text.endswith(f" MiB free, {free + 5} MiB required {uses}; free some disk space")
    assert problems(python, space=[release | {"unless": str(tmp_path)}, state]) == []


@pytest.mark.parametrize(("ahead", "word"), [(-900, "behind"), (900, "ahead of"), (0, "")])
def test_clock_that_differs_is_named(python: str, ahead: int, word: str) -> None:
    """A clock more than a minute apart from that of the control machine is a problem."""
    listed = problems(python, clock={"now": time.time() - ahead, "seconds": 60})
    assert [f" s {word} that of the control machine" in text for text in listed] == [True] * bool(
        word
    )


CERTIFICATES = [
    # (arguments of the pair, what is done to the key, problem)
    ((100,), "", ""),
    ((-1,), "", r"tls.certificate: .*/c.pem: expired on 20\d\d-\d\d-\d\d on the host; renew it"),
    ((100, -5), "", r"tls.certificate: .*/c.pem: not valid before 20.* UTC on the host; renew it"),
    ((100,), "other", r"tls.key: .*/k.pem: not the unencrypted key of .*/c.pem \(.*\); renew it"),
    ((100, 1, "secret"), "", r"tls.key: .*/k.pem: not the unencrypted key of .*; renew it"),
    ((100,), "missing", r"tls.key: .*/k.pem: not found on the host; renew it"),
]


@pytest.mark.parametrize(("days", "change", "problem"), CERTIFICATES)
def test_certificate_that_nginx_cannot_use_is_named(
    python: str, tmp_path: Path, days: tuple[Any, ...], change: str, problem: str
) -> None:
    """An expired certificate, and a key that is not its own or is encrypted, are problems."""
    certificate, key = pair(*days)
    (tmp_path / "c.pem").write_bytes(certificate)
    if change != "missing":
        (tmp_path / "k.pem").write_bytes(pair(1)[1] if change == "other" else key)
    paths = {"certificate": tmp_path / "c.pem", "key": tmp_path / "k.pem"}
    request = [
        {"role": role, "key": f"tls.{role}", "path": str(path), **MACHINE}
        for role, path in paths.items()
    ]
    listed = problems(python, certificates=request)
    assert len(listed) == bool(problem)
    assert all(re.fullmatch(problem, text) for text in listed)


def test_file_that_is_no_certificate_is_named(python: str, tmp_path: Path) -> None:
    """Any other file in place of a certificate is a problem."""
    (tmp_path / "c.pem").write_text("garbage\n")
    request = {"role": "ca", "key": "tls.ca", "path": str(tmp_path / "c.pem"), **MACHINE}
    listed = problems(python, certificates=[request])
    assert listed == [f"tls.ca: {tmp_path}/c.pem: not a certificate (PEM) on the host; renew it"]


# (content on the host, parts that programs have loaded, whether it is a problem)
EDITS = [
    ("[Service]\n", ["service"], False),  # as placed
    ("[Service]\nNice=7\n", ["service"], True),
    ("[Service]\nNice=7\n", [], False),  # a play was interrupted
    ("[Service]\nNice=1\n", ["service"], False),  # as the next play places it
    (None, ["service"], False),
]


@pytest.mark.parametrize(("content", "loaded", "is_problem"), EDITS)
def test_edited_file_is_named(
    python: str, tmp_path: Path, content: str | None, loaded: list[str], is_problem: bool
) -> None:
    """A file that was edited on the host is a problem, unless the play would write the same."""
    unit = tmp_path / "pyindex.service"
    if content is not None:
        unit.write_text(content)
    release = tmp_path / "opt/releases/1"
    release.mkdir(parents=True)
    state = {"current": "1", "loaded": dict.fromkeys(loaded, "")}
    (tmp_path / "opt/host.json").write_text(json.dumps(state))
    placed = [{"path": str(unit), "content": "[Service]\n", "part": "service"}]
    (release / "files.json").write_text(json.dumps(placed))
    digest = hashlib.sha256(b"[Service]\nNice=1\n").hexdigest()
    listed = problems(python, files={"opt": f"{tmp_path}/opt", "digests": {str(unit): digest}})
    text = f"{unit}: edited on the host; move the change into the spec or a drop-in, then run"
    assert listed == ([f"{text} mv {unit} /root/ there"] if is_problem else [])


@pytest.mark.parametrize("text", ['{"current": "1', "[]", "null"])
def test_damaged_record_is_named(python: str, tmp_path: Path, text: str) -> None:
    """A record that cannot be read is a problem, and the other checks run."""
    (tmp_path / "host.json").write_text(text)
    listed = problems(
        python, contributors=["nobody-x"], files={"opt": str(tmp_path), "digests": {}}
    )
    assert len(listed) == 2
    assert listed[1] == f"{tmp_path}/host.json: damaged; delete it and run the whole play"


def test_bare_host_has_no_edited_files(python: str, tmp_path: Path) -> None:
    """Without a record of a play, no file is a problem."""
    assert problems(python, files={"opt": str(tmp_path / "opt"), "digests": {}}) == []


def test_unknown_contributor_is_named(python: str) -> None:
    """A user of the spec whom the host lacks is a problem."""
    (text,) = problems(python, contributors=["root", "nobody-x"])
    assert text.startswith("host.contributors: nobody-x: no such user on the host; create it, or")


def test_missing_package_that_is_not_supplied_is_named(python: str) -> None:
    """A package is supplied by its name; one that only SELinux needs is not missing without it."""
    missing: list[dict[str, object]] = [
        {"name": name, "file": "/nowhere"} for name in ("nginx", "supervisor", "bindings")
    ]
    missing[2]["selinux"] = True
    supplied = {"directory": "/debs", "names": ["nginx", "bindings"]}
    result = candidates(python, *missing, {"name": "here", "file": "/"}, supplied=supplied)
    has_selinux = Path("/sys/fs/selinux/enforce").exists()
    assert result["missing"] == ["nginx", "supervisor", *["bindings"] * has_selinux]
    (text,) = result["problems"]
    assert text.startswith("supervisor: missing on the host, and not in /debs, the packages of the")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dpkg-deb"), reason="needs root and apt")
@pytest.mark.parametrize(
    ("name", "is_mirror_complete", "reason"),
    [
        ("pyindex-carried", True, ""),
        ("pyindex-carried", False, "No such file or directory"),
        ("pyindex-unmet", True, "pyindex-unmet : Depends: pyindex-third but it is not installable"),
        ("pyindex-nowhere", True, "Unable to locate package pyindex-nowhere"),
    ],
)
def test_mirror_without_a_package_is_named(
    python: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    is_mirror_complete: bool,
    reason: str,
) -> None:
    """apt resolves and fetches what is missing, with what it requires, and keeps nothing of it."""
    mirror = make_mirror(tmp_path)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
    if not is_mirror_complete:
        (mirror / "pyindex-carried.deb").unlink()
    listed = candidates(python, {"name": name, "file": "/nowhere"})["problems"]
    if reason:
        (text,) = listed
        assert text.startswith(f"{name}: missing on the host, and apt-get cannot fetch it: ")
        assert reason in text and text.endswith("or name some in host.repositories of the spec")
    else:
        assert listed == []
    assert not list(Path(tempfile.gettempdir()).glob("pyindex-candidates-*"))


def make_mirror(folder: Path) -> Path:
    """A mirror of two packages, of which one needs a third, and the settings of apt for it."""
    mirror, index = folder / "mirror", ""
    (folder / "lists/partial").mkdir(parents=True)
    for name, depends in (("pyindex-carried", "libc6"), ("pyindex-unmet", "pyindex-third")):
        control = folder / name / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        fields = f"Package: {name}\nVersion: 1\nArchitecture: all\nDepends: {depends}\n"
        control.write_text(f"{fields}Maintainer: x <x@example.org>\nDescription: x\n")
        mirror.mkdir(exist_ok=True)
        deb = mirror / f"{name}.deb"
        subprocess.run(["dpkg-deb", "-b", folder / name, deb], check=True, capture_output=True)
        content = deb.read_bytes()
        index += f"{fields}Filename: ./{deb.name}\nSize: {len(content)}\n"
        index += f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n"
    (mirror / "Packages").write_text(index)
    (folder / "sources.list").write_text(f"deb [trusted=yes] copy:{mirror} ./\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{folder}/sources.list";\nDir::Etc::SourceParts "-";\n'
        f'Dir::State::Lists "{folder}/lists";\nAPT::Sandbox::User "root";\n'
    )
    return mirror


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "has_mirror", "reason"),
    [
        ("pyindex-carried", True, "Package pyindex-carried-1-1.noarch.rpm is not signed"),
        ("pyindex-nowhere", True, "Unable to find a match: pyindex-nowhere"),
        ("pyindex-carried", False, "Failed to download metadata for repo 'lab'"),
    ],
)
def test_yum_mirror_without_a_package_is_named(
    python: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    has_mirror: bool,
    reason: str,
) -> None:
    """yum, here dnf, fetches what is missing from the repositories that a play would configure,
    with its check of signatures."""
    mirror = make_yum_mirror(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/yum").symlink_to("/usr/bin/dnf")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    url = mirror.as_uri() if has_mirror else "http://127.0.0.1:9/"
    lab = {"name": "lab", "baseurl": url, "gpgkey": "file:///nowhere"}
    repositories = {"kind": "rpm", "yum": [lab], "unused": ["epel.repo"]}
    package: dict[str, object] = {"name": name, "file": "/nowhere"}
    (text,) = candidates(python, package, repositories=repositories)["problems"]
    assert text.startswith(f"{name}: missing on the host, and yum cannot fetch it: {reason}")
    assert text.endswith("set pyindex_yum_repos, or name some in host.repositories of the spec")


# What yum 3.4.3 of CentOS 7 printed, as far as it matters: (lines, exit code, the reason named).
YUM = [
    # Packages of a file:// repository stay where they are.
    ('exiting because "Download Only" specified', 0, ""),
    (
        'No package nginx available.\nexiting because "Download Only" specified',
        0,
        "No package nginx available.",
    ),
    (
        "Package nginx-1-1.el7.x86_64.rpm is not signed",
        0,
        "Package nginx-1-1.el7.x86_64.rpm is not",
    ),
    (
        " One of the configured repositories failed (Unknown),\n\n"
        "Cannot find a valid baseurl for repo: base/7/x86_64\n"
        "Could not retrieve mirrorlist http://mirrorlist.example/ error was",
        1,
        "Cannot find a valid baseurl for repo: base/7/x86_64; repair",
    ),
]


@pytest.mark.parametrize(("said", "code", "reason"), YUM)
def test_answer_of_yum_of_centos_7_is_understood(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: int, reason: str
) -> None:
    """What yum printed there is a problem only if it could not install the package."""
    (tmp_path / "said").write_text(f"Loaded plugins: fastestmirror, ovl\n{said}\n")
    (tmp_path / "yum").write_text(f"#!/bin/sh\ncat {tmp_path}/said\nexit {code}\n")
    (tmp_path / "yum").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    repositories = {"kind": "rpm", "yum": [], "unused": []}
    package: dict[str, object] = {"name": "nginx", "file": "/nowhere"}
    listed = candidates(python, package, repositories=repositories)["problems"]
    assert len(listed) == bool(reason)
    for text in listed:
        assert text.startswith(f"nginx: missing on the host, and yum cannot fetch it: {reason}")


def make_yum_mirror(folder: Path) -> Path:
    """A mirror of one package; skips the test where the programs cannot be installed."""
    programs = ("dnf", "createrepo-c:createrepo_c", "rpm:rpmbuild")
    install = subprocess.run([SYSTEM_PACKAGES, *programs], capture_output=True, check=False)
    if install.returncode:
        pytest.skip("dnf, createrepo_c and rpmbuild are not installed here")
    fields = "Name: pyindex-carried\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\n"
    (folder / "x.spec").write_text(f"{fields}BuildArch: noarch\n%description\nx\n%files\n")
    places = ("--define", f"_rpmdir {folder}/mirror", "--define", f"_topdir {folder}/top")
    build = ("rpmbuild", "-bb", "--quiet", *places, str(folder / "x.spec"))
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run(["createrepo_c", "-q", folder / "mirror"], check=True, capture_output=True)
    return folder / "mirror"
