"""Small rpm packages and yum repositories, made by rpmbuild and createrepo_c."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SPEC = """\
Name: {name}
Epoch: {epoch}
Version: {version}
Release: 1.el7
Summary: {name}
License: MIT
{relations}
%description
{name}
%install
for file in {files}; do mkdir -p %{{buildroot}}/$(dirname $file); touch %{{buildroot}}/$file; done
%files
{listed}
"""


@dataclass(frozen=True)
class Rpm:
    """A package to make: its version, what it requires and provides, and its files."""

    name: str
    version: str = "1.0"
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    epoch: int = 0
    arch: str = "x86_64"

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-1.el7.{self.arch}.rpm"


# As in CentOS 7 and EPEL: by names, sonames, files and versions, with a choice of versions.
CENTOS = (
    Rpm("nginx", "1.16.1", epoch=1),
    Rpm("nginx", "1.20.1", ("libssl.so.1.1()(64bit)", "nginx-filesystem = 1:1.20.1"), epoch=1),
    Rpm("nginx-filesystem", "1.20.1", ("/bin/sh",), epoch=1, arch="noarch"),
    Rpm("openssl11-libs", "1.1.1k", provides=("libssl.so.1.1()(64bit)",)),
    Rpm("logrotate", "3.8.6", ("bash >= 4.1",)),
    Rpm("bash", "4.2.46", files=("/bin/sh",)),
    Rpm("zsh", "5.0.2"),
)
NAMES = ("nginx", "logrotate")
CLOSURE = ("bash", "logrotate", "nginx", "nginx-filesystem", "openssl11-libs")


def make_repository(directory: Path, rpms: Iterable[Rpm]) -> Path:
    directory.mkdir(parents=True)
    for rpm in rpms:
        _build(directory, rpm)
    describe(directory)
    return directory


def describe(directory: Path, *more: str) -> None:
    script = "import createrepo_c; createrepo_c.createrepo_c()"
    options = ["-q", "--general-compress-type=gz"]  # as CentOS 7
    subprocess.run([sys.executable, "-c", script, *options, *more, directory], check=True)


def _build(directory: Path, rpm: Rpm) -> None:
    relations = [f"Requires: {text}" for text in rpm.requires]
    relations += [f"Provides: {text}" for text in rpm.provides]
    top = directory.parent / "rpmbuild"
    top.mkdir(exist_ok=True)
    spec = top / f"{rpm.name}.spec"
    spec.write_text(
        SPEC.format(
            name=rpm.name,
            epoch=rpm.epoch,
            version=rpm.version,
            relations="\n".join(relations),
            files=" ".join(rpm.files),
            listed="\n".join(rpm.files),
        )
    )
    macros = {"_topdir": top, "_rpmdir": directory, "_binary_payload": "w6.gzdio"}
    macros["_rpmfilename"] = f"%%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.{rpm.arch}.rpm"
    defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    command = ["rpmbuild", "-bb", "--quiet", "--target", rpm.arch, *defines, str(spec)]
    subprocess.run(command, check=True, capture_output=True)
