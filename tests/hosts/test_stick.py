"""From a bare host and a medium to an index, by the script on it, without a control machine."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.pack import digests
from tests.dist import make_wheel
from tests.hosts.control import recap
from tests.hosts.machines import Machine, Network, Workstation
from tests.hosts.specs import NAME, settings
from tests.hosts.trees import debs

pytestmark = pytest.mark.hosts

PLACE = "/media/stick"


@dataclass(frozen=True)
class Carried:
    """A bare host with a medium in it, and the public key that signed the medium."""

    machine: Machine
    near: Path

    @property
    def medium(self) -> Path:
        return self.machine.root / PLACE[1:]

    def bundle(self, name: str, *options: str) -> None:
        """Write a bundle onto the medium, on the side that has a network."""
        out, packages = self.near / "stick" / name, self.near / "packages"
        arguments = ("--directory", str(packages), "--sign", str(self.near / "lab.key"))
        assert main(["bundle", str(out), *arguments, *options]) == 0

    def carry(self) -> None:
        """Copy the medium to the host, as FAT would have it: without modes, and read-only."""
        self.machine.run("umount", PLACE, code=None)
        shutil.rmtree(self.medium, ignore_errors=True)
        shutil.copytree(self.near / "stick", self.medium, copy_function=shutil.copyfile)
        self.machine.run("mount", "--bind", PLACE, PLACE)
        self.machine.run("mount", "-o", "remount,bind,ro,noexec", PLACE)

    def install(self, *options: str, code: int = 0) -> str:
        return self.machine.run("sh", f"{PLACE}/install", *options, code=code)


@pytest.fixture(scope="module")
def carried(
    network: Network, debian: Path, debian_packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Carried]:
    """A bare host, and a signed medium for it with two volumes of packages."""
    near = tmp_path_factory.mktemp("near")
    for name in ("packages", "stick"):
        (near / name).mkdir()
    for number in range(3):
        make_wheel(near / "packages", f"carried{number}", "1.0")
    assert main(["bundle-key", str(near / "lab.key")]) == 0
    spec = settings(near, bundles={"keys": ["lab.key.pub"]})
    with network.machine("host", debian, NAME) as machine:
        made = Carried(machine, near)
        made.bundle(
            *("lab.tar", "--volume", "6k", "--with-appliance", "--host-spec", str(spec)),
            *("--packages", str(debian_packages)),
        )
        assert len(list(near.glob("stick/lab.tar.00[0-9]"))) > 1
        made.carry()
        machine.put(near / "lab.key.pub", "/root/lab.key.pub")
        yield made


def snapshot(machine: Machine) -> str:
    """Names of all that the script could have changed, with sizes and times of files."""
    places = ("/opt", "/etc", "/srv", "/root", "/tmp", "/usr", "/var/lib")
    return machine.run("find", *places, "-type", "d", "-print", "-o", "-ls")


# (path on the medium, what is done to it, what the last line says)
REFUSED = [
    ("appliance/pack/requirements.txt", "change", "differs from appliance/SHA256SUMS"),
    ("appliance/ansible/site.yml", "change", "differs from appliance/SHA256SUMS"),
    ("appliance/settings", "change", "differs from appliance/SHA256SUMS"),
    ("install", "change", "differs from appliance/SHA256SUMS"),
    ("appliance/hosts", "remove", "appliance/hosts: cannot be copied"),
    ("appliance/SHA256SUMS", "remove", "appliance/SHA256SUMS: no such file"),
]


@pytest.mark.parametrize(("path", "damage", "sentence"), REFUSED)
def test_damaged_medium_is_refused(carried: Carried, path: str, damage: str, sentence: str) -> None:
    """A medium with a changed or missing file is refused before anything runs."""
    file, before = carried.medium / path, snapshot(carried.machine)
    content = file.read_bytes()
    carried.machine.run("mount", "-o", "remount,bind,rw", PLACE)
    file.unlink() if damage == "remove" else file.write_bytes(content + b"\n# changed\n")
    try:
        text = carried.install(code=1)
    finally:
        file.write_bytes(content)
        carried.machine.run("mount", "-o", "remount,bind,ro,noexec", PLACE)
    assert text.splitlines()[-1].startswith("install: ") and sentence in text.splitlines()[-1]
    assert "PLAY" not in text
    assert snapshot(carried.machine) == before


def test_script_requires_minisign_for_key(carried: Carried) -> None:
    """Without minisign on the host, the script refuses to verify with a key."""
    text = carried.install("--key", "/root/lab.key.pub", code=1)
    assert "minisign is not installed" in text.splitlines()[-1]


def test_one_script_runs_at_a_time(carried: Carried) -> None:
    """A second script beside a running one ends at once."""
    text = carried.machine.run("flock", "/opt", "sh", f"{PLACE}/install", code=1)
    assert text == "install: another install is running; wait until it has ended\n"


def test_check_shows_what_would_change(carried: Carried) -> None:
    """With --check on the bare host, the playbook shows its changes and makes none."""
    before = snapshot(carried.machine)
    text = carried.install("--check")
    assert recap(text)["localhost"]["changed"] > 0
    assert snapshot(carried.machine) == before


@pytest.fixture(scope="module")
def installed(carried: Carried) -> str:
    """The output of the script on the bare host, where a killed one has left files, and from a
    medium to which files were added."""
    assert not carried.machine.root.joinpath("usr/sbin/nginx").exists()
    carried.machine.run("mkdir", "-p", "/opt/.pyindex-install/appliance/pack")
    carried.machine.put(b"left", "/opt/.pyindex-install/appliance/pack/left")
    carried.medium.joinpath("appliance/pack/added").write_text("added\n")
    carried.medium.joinpath("appliance/wheels/added-1-py3-none-any.whl").write_text("added\n")
    return carried.install()


def test_script_makes_bare_host_an_index(
    carried: Carried, installed: str, workstation: Workstation
) -> None:
    """The script installs, loads the bundle, and says what to type on a client, which works."""
    command = installed.splitlines()[-1].strip()
    assert command.startswith("pip install --index-url http://pypi.lab.example/simple/ ")
    assert command.endswith(" NAME")
    environment = workstation.environment("pip-newest-py3.13")
    environment.run("-m", *command.removesuffix("NAME").split(), "carried0", "carried2")
    assert environment.run("-c", "import carried0, carried2; print('there')").strip() == "there"


def test_script_leaves_no_temporary_files(carried: Carried, installed: str) -> None:
    """Nothing of the script is left in /opt, /tmp or root's home."""
    for path in ("/opt", "/tmp", "/root"):
        names = carried.machine.run("ls", "-A", path)
        assert not re.search("ansible|pyindex-install|pyindex-verify", names), path


@pytest.fixture(scope="module")
def verifying(carried: Carried, installed: str) -> Carried:
    """The host with minisign, and another key."""
    for package in debs("minisign").iterdir():
        carried.machine.put(package, f"/root/debs/{package.name}")
    carried.machine.run("sh", "-c", "dpkg --install /root/debs/*.deb")
    assert main(["bundle-key", str(carried.near / "other.key")]) == 0
    carried.machine.put(carried.near / "other.key.pub", "/root/other.key.pub")
    return carried


def test_second_run_changes_nothing(verifying: Carried, installed: str) -> None:
    """A second run, which verifies the signature, changes nothing, and ends with the same lines."""
    text = verifying.install("--key", "/root/lab.key.pub")
    assert recap(text)["localhost"]["changed"] == 0
    assert "already loaded" in text and "not verified" not in text
    assert text.splitlines()[-2:] == installed.splitlines()[-2:]


def sign_nothing(medium: Path) -> None:
    (medium / "appliance/SHA256SUMS.minisig").unlink()


def replace_file(medium: Path) -> None:
    """Change a file, and the list of digests with it."""
    sums, file = medium / "appliance/SHA256SUMS", medium / "appliance/ansible/site.yml"
    old = digests.of_file(file)
    file.write_text(file.read_text() + "\n")
    sums.write_text(sums.read_text().replace(old, digests.of_file(file)))


# (key, what is done to the medium, what the last line says)
UNSIGNED: list[tuple[str, Callable[[Path], None], str]] = [
    ("other.key.pub", lambda medium: None, "not signed by this key; nothing was run"),
    ("lab.key.pub", replace_file, "not signed by this key; nothing was run"),
    ("lab.key.pub", sign_nothing, "is not signed; nothing was run"),
    ("none.pub", lambda medium: None, "--key: expected the file of a public key"),
]


@pytest.mark.parametrize(("key", "change", "sentence"), UNSIGNED)
def test_signature_is_verified(
    verifying: Carried, key: str, change: Callable[[Path], None], sentence: str
) -> None:
    """With --key, a medium that was not signed by it is refused before anything runs."""
    verifying.machine.run("mount", "-o", "remount,bind,rw", PLACE)
    change(verifying.medium)
    try:
        text = verifying.install("-e", "any=thing", f"--key=/root/{key}", code=1)  # in any order
    finally:
        verifying.carry()
    assert sentence in text.splitlines()[-1]
    assert "PLAY" not in text


def test_newer_medium_upgrades(carried: Carried, installed: str, workstation: Workstation) -> None:
    """A newer medium has another release, another spec and more packages, and all arrive."""
    make_wheel(carried.near / "packages", "later", "1.0")
    for path in carried.near.joinpath("stick").glob("lab.tar.*"):
        path.unlink()
    before = carried.machine.run("readlink", "/opt/pyindex/current")
    keys = {"keys": ["lab.key.pub"]}
    spec = settings(carried.near, bundles=keys, nginx={"names": ["other.lab.example"]})
    carried.bundle("new.bundle", "--with-appliance", "--host-spec", str(spec))
    carried.carry()
    text = carried.install()
    assert carried.machine.run("readlink", "/opt/pyindex/current") != before
    assert "other.lab.example" in carried.machine.run("nginx", "-T")
    environment = workstation.environment("pip-newest-py3.13")
    command = text.splitlines()[-1].strip().removesuffix("NAME").split()
    environment.run("-m", *command, "later", "carried1")


def test_failed_playbook_is_reported(carried: Carried, installed: str) -> None:
    """A failing playbook ends the script with its code and a last line that says what to do."""
    text = carried.install("-e", "pyindex_clock_seconds=-1", code=1)
    assert "clock: 0 s " in text
    assert text.splitlines()[-1].startswith("install: the playbook failed, see above")
    assert carried.machine.run("ls", "-A", "/opt").split() == ["pyindex"]
