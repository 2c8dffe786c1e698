"""A host that plays set up, as tests use it: plays, packs with another release, and requests."""

import json
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from appliance.pack import digests
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.hosts.control import Control, Play
from tests.hosts.load import Load
from tests.hosts.machines import Machine
from tests.hosts.specs import NAME

PAGE, FILE = "/simple/pyindex-probe/", "/packages/pyindex_probe-1-py2.py3-none-any.whl"
ASKED = (PAGE, FILE, "/pypi/pyindex-probe/json")  # nginx answers two, the application one


@dataclass(frozen=True)
class Host:
    """A machine, and the plays that make it an index."""

    machine: Machine
    control: Control
    spec: Path
    variables: dict[str, object]

    def play(self, *arguments: str, code: int | None = 0, **variables: object) -> Play:
        return self.control.play(
            self.machine,
            arguments=arguments,
            variables={"pyindex_spec": str(self.spec), **self.variables, **variables},
            code=code,
        )

    def load(self) -> Load:
        return Load(self.machine.address, NAME, ASKED)

    def drop(self, name: str, version: str) -> str:
        """Copy a wheel into the packages directory; returns its name when its page shows it."""
        wheel = make_wheel(self.spec.parent, name, version)
        self.machine.put(wheel, f"/srv/pyindex/packages/{wheel.name}")
        eventually(lambda: wheel.name in self.get(f"/simple/{name}/"))
        return wheel.name

    def get(self, path: str) -> str:
        """What the host answers, status line first; lines end in a newline alone."""
        url = f"http://{NAME}{path}"
        resolve = f"{NAME}:80:{self.machine.address}"
        command = ("curl", "--silent", "--include", "--max-time", "30", "--resolve", resolve, url)
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        ).stdout

    def main_pid(self, unit: str) -> str:
        return self.machine.run("systemctl", "show", "-p", "MainPID", "--value", unit).strip()


def changed_pack(host: Host, version: str, module: str, source: str) -> tuple[Path, str]:
    """The pack that was carried, with another release in it, and its name: one module of pyindex is
    replaced."""
    (old,) = Path(str(host.variables["pyindex_cache"])).glob("**/manifest.json")
    pack = host.spec.parent / version
    shutil.copytree(old.parent, pack)
    manifest = json.loads((pack / "manifest.json").read_text())
    (wheel,) = (pack / "wheels").glob("pyindex-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members[module] = source.encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    name = str(wheel.relative_to(pack))
    new, before = digests.of_file(wheel), manifest["files"][name]
    requirements = (pack / "requirements.txt").read_text().replace(before, new)
    (pack / "requirements.txt").write_text(requirements)
    manifest["files"][name] = new
    manifest["files"]["requirements.txt"] = digests.of_file(pack / "requirements.txt")
    release = f"{version}-{digests.of_many(manifest['files'])[:12]}"
    manifest |= {"version": version, "release": release}
    (pack / "manifest.json").write_text(json.dumps(manifest))
    return pack, release


def release(host: Host) -> str:
    return host.machine.run("readlink", "/opt/pyindex/current").strip().rpartition("/")[2]


def last_words(play: Play, count: int = 1) -> str:
    """The last lines of a play's last message, which precedes the recap."""
    message = play.output.partition("PLAY RECAP")[0].partition("NO MORE HOSTS LEFT")[0]
    return "\n".join(line.strip() for line in message.strip().splitlines()[-count:])
