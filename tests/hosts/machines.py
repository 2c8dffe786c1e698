"""Whole systems booted on this machine, on a private network from which no route leads out.

    with network() as lan:
        with lan.machine("pypi", base_tree(), "pypi.lab.example") as machine:
            machine.run("systemctl", "is-system-running")
            lan.workstation().run("curl", "http://pypi.lab.example/")

A machine is a tree that systemd-nspawn boots in a network namespace; what it changes is kept in an
overlay. A workstation is a namespace with programs of this machine in it. A bridge joins them and
this machine. All that a network makes carries its number, so that the next one can remove what a
killed run left; a number is free again when its process is gone, however that ended.
"""

import shlex
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tests.hosts.processes import TIMEOUT, end, grouped, output
from tests.integration.clients import Environment, Environments, isolated

PREFIX = "pyindex"
SSH_OPTIONS = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"),
)
# What a tree may lack that was kept where there are no empty folders and no setuid bits.
FOLDERS = (
    *("proc", "sys", "dev", "run", "tmp", "mnt", "srv", "opt", "home", "root/.ssh", "var/tmp"),
    *("etc/tmpfiles.d", "usr/local/bin"),
)
SETUID = ("su", "sudo", "mount", "umount", "passwd", "crontab")
# For a host that has no sshd: the last argument is run by a shell in it, as sshd would.
NO_SSHD = """\
#!/bin/sh
for command; do :; done
pid=$(cat "${0%.ssh}.pid")
exec nsenter --target "$pid" --mount --uts --ipc --net --pid --root --wd -- \\
  env -i HOME=/root USER=root LANG=C.UTF-8 \\
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "cd; $command"
"""


class Network:
    """A private range, 10.213.NUMBER.0/24, and what is on it. This machine is the first on it."""

    def __init__(self, number: int) -> None:
        self.bridge = f"{PREFIX}{number}"
        self.folder = Path(tempfile.gettempdir(), f"{PREFIX}-hosts-{number}")
        self.key = self.folder / "key"
        self.names: dict[str, str] = {}  # host names to addresses, as workstations know them
        self._range = f"10.213.{number}"
        self._last = 10  # of the addresses given out

    @property
    def address(self) -> str:
        """This machine's address there."""
        return f"{self._range}.1"

    def machine(
        self, name: str, tree: "Path | Machine", *names: str, shared: Iterable[Path] = ()
    ) -> "Machine":
        """Boot *tree*, which is not changed, as host *name*; it goes by *names*, too.

        A stopped machine in place of a tree: the new one goes on from where that one is. Folders of
        this machine that are *shared* are there at the same paths, read-only.
        """
        machine = Machine(self, name, self._join(name), tree, names, shared)
        try:
            machine.boot()
        except BaseException:
            machine.remove()
            raise
        return machine

    def workstation(self, name: str = "workstation") -> "Workstation":
        """A second machine, where people run pip; it has this machine's programs."""
        return Workstation(self, name, self._join(name))

    def called(self, name: str) -> str:
        """How this machine knows the namespace and control groups of the host *name*."""
        return f"{self.bridge}-{name}"

    def make(self) -> None:
        """Bring up what all on it share: the bridge, a folder, a key."""
        self.folder.mkdir(mode=0o700)
        output(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key))
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"{self.address}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")

    def remove(self) -> None:
        """Make an end of everything that is or was on it."""
        self.detach("*")
        if Path("/sys/class/net", self.bridge).exists():
            _ip("link", "delete", self.bridge)
        _unmount(self.folder)
        _delete(self.folder)

    def detach(self, name: str) -> None:
        """End what runs on the hosts that match *name*, and take them off the network."""
        end(self.called(name))
        for namespace in Path("/run/netns").glob(self.called(name)):
            pids = _ip("netns", "pids", namespace.name).split()
            if pids:
                output(("kill", "-KILL", *pids), code=None)
            # Its end of the cable goes with it, at a time of the kernel's choosing.
            _ip("-n", namespace.name, "link", "delete", "eth0", code=None)
            _ip("netns", "delete", namespace.name)
        for left in Path("/run/systemd/nspawn/propagate").glob(self.called(name)):
            _delete(left)

    def _join(self, name: str) -> str:
        """Make the namespace for *name*, with a cable to the bridge; returns the address."""
        self._last += 1
        namespace, cable = self.called(name), f"{self.bridge}.{self._last}"
        address = f"{self._range}.{self._last}"
        _ip("netns", "add", namespace)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", cable, "master", self.bridge, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return address


class _Temporary:
    """What is gone at the end of ``with``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        raise NotImplementedError


class Machine(_Temporary):
    """A host with systemd as process 1; made by `Network.machine`, gone at the end of ``with``.

    Attributes:
        name: Its host name.
        address: Its address on the network.
        root: Its root file system; what is written there is on the host.
        namespace: Its network namespace.
        ssh: The program that reaches it, its arguments up to and with the host.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        address: str,
        tree: "Path | Machine",
        names: tuple[str, ...],
        shared: Iterable[Path],
    ) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.namespace = network.called(name)
        self.root = network.folder / name
        self._layers = network.folder / f"{name}.layers"
        self.console = network.folder / f"{name}.console"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)  # of its environments
        self._shared = tuple(f"--bind-ro={folder}" for folder in shared)
        self._tree = self._mount(tree)
        self._settle(names)
        self.has_sshd = (self.root / "usr/sbin/sshd").exists()
        self.ssh = self._reached_by()

    def run(self, *command: str | Path, code: int | None = 0, content: bytes = b"") -> str:
        """Run *command* on the host as root; see `output`."""
        return output(self.command(*command), code=code, content=content)

    def command(self, *command: str | Path) -> list[str]:
        """What has to be run here so that *command* runs there."""
        return [*self.ssh, shlex.join(map(str, command))]

    def put(self, content: bytes | Path, place: str, mode: int = 0o644) -> None:
        """Write *content*, or the file at that path, to *place* on the host."""
        data = content.read_bytes() if isinstance(content, Path) else content
        self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", place, content=data)

    def environment(self, client: str) -> Environment:
        """A fresh environment with *client*, as `Environments` makes it, that runs there.

        The interpreters of this machine and `BUILT` have to be shared with it.
        """
        place = Path("/srv", f"clients-{next(self._numbers)}")  # to delete an old one takes long
        Environments(self.root / place.relative_to("/"))(client)
        return _OnHost(self, place / client)

    def boot(self) -> None:
        """Switch it on, and wait until it is up."""
        command: tuple[str | Path, ...] = (
            *("systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--console=pipe"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            # A server may set up its own network and raise limits.
            "--capability=CAP_NET_ADMIN,CAP_SYS_RESOURCE",
            *(f"--network-namespace-path=/run/netns/{self.namespace}", *self._shared),
            *(f"--machine={self.namespace}", f"--hostname={self.name}", "--directory", self.root),
        )
        with self.console.open("wb") as console:
            # In a session of its own, or Ctrl-C would reach it before its test can clean up.
            self._nspawn = subprocess.Popen(
                grouped(self.namespace, command),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        while (state := self._state()) not in ("running", "degraded"):
            assert self._nspawn.poll() is None and time.monotonic() < deadline, (
                f"{self.name} does not boot: {state}\n{self.console.read_text(errors='replace')}"
            )
            time.sleep(0.1)

    def reboot(self) -> None:
        """Have it restart itself, as an operator would."""
        self.run("systemctl", "reboot", code=None)
        self._off()
        self.boot()

    def stop(self) -> None:
        """Shut it down in order."""
        if self._nspawn is not None:
            self._nspawn.terminate()
            self._off()

    def kill(self) -> None:
        """Cut its power: no process gets to do anything more. ``boot`` switches it on again."""
        end(self.namespace)
        self._off()

    def remove(self) -> None:
        """Cut its power, and leave nothing of it."""
        self.kill()
        self.network.detach(self.name)
        for name in [known for known, at in self.network.names.items() if at == self.address]:
            del self.network.names[name]
        _unmount(self.root)
        for place in (self.root, *self.network.folder.glob(f"{self.name}.*")):
            _delete(place)

    def _off(self) -> None:
        """Wait until it is off."""
        if self._nspawn is not None:
            self._nspawn.wait(TIMEOUT)
            self._nspawn = None
        end(self.namespace)

    def _mount(self, source: "Path | Machine") -> Path:
        """Put the root in place; returns the tree below it."""
        upper, work = self._layers / "upper", self._layers / "work"
        for folder in (self.root, work):
            folder.mkdir(parents=True)
        if isinstance(source, Machine):
            assert source._nspawn is None, f"{source.name} has to be stopped first"
            output(("cp", "-a", source._layers / "upper", upper))
            tree = source._tree
        else:
            upper.mkdir()
            tree = source
        layers = f"lowerdir={tree},upperdir={upper},workdir={work}"
        output(("mount", "-t", "overlay", "-o", layers, self.namespace, self.root))
        return tree

    def _settle(self, names: tuple[str, ...]) -> None:
        """Give the copy what makes it this host and no other."""
        self.network.names |= dict.fromkeys((self.name, *names), self.address)
        own = " ".join((*names, self.name))
        files = {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{self.address} {own}\n",
            "etc/resolv.conf": "",
            "etc/machine-id": f"{uuid.uuid4().hex}\n",
            "root/.ssh/authorized_keys": self.network.key.with_suffix(".pub").read_text(),
        }
        for place in (self.root / name for name in FOLDERS):
            place.mkdir(parents=True, exist_ok=True)
            if place.name == "tmp":
                place.chmod(0o1777)
        for place, text in ((self.root / name, text) for name, text in files.items()):
            place.unlink(missing_ok=True)  # it may be a link that leads out of the tree
            place.write_text(text)
        for program in (self.root / "usr/bin" / name for name in SETUID):
            if program.exists() and not program.stat().st_mode & stat.S_ISUID:
                program.chmod(0o4755)

    def _reached_by(self) -> tuple[str, ...]:
        if self.has_sshd:
            return ("ssh", "-i", str(self.network.key), *SSH_OPTIONS, f"root@{self.address}")
        program = self.network.folder / f"{self.name}.ssh"
        program.write_text(NO_SSHD)
        program.chmod(0o755)
        return (str(program), self.name)

    def _state(self) -> str:
        """What its systemd says of itself; what stands in the way if it cannot be asked."""
        if not self.has_sshd and not self._find_first():
            return "not started"
        return self.run("systemctl", "is-system-running", code=None).strip()

    def _find_first(self) -> bool:
        """Note the host's process 1 for those who enter by it, if it is systemd already."""
        assert self._nspawn is not None
        pid = self._nspawn.pid
        first = Path(f"/proc/{pid}/task/{pid}/children").read_text().partition(" ")[0]
        (self.network.folder / f"{self.name}.pid").write_text(first)
        try:
            return first != "" and Path(f"/proc/{first}/comm").read_text() == "systemd\n"
        except OSError:  # nspawn's first child is not the one that stays
            return False


class Workstation(_Temporary):
    """A machine beside the hosts, without a system of its own: programs run in its namespace.

    They see this machine's files, the host names of the network, and nothing beyond it.
    """

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.namespace = network.called(name)
        self.home = network.folder / name
        self.home.mkdir()
        self._environments = Environments(self.home)

    def run(
        self,
        *command: str | Path,
        code: int | None = 0,
        cwd: Path | None = None,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Run *command* there, with nothing of this machine's settings; see `output`."""
        return output(
            self.command(*command),
            code=code,
            cwd=cwd or self.home,
            variables=self.variables() | dict(variables),
        )

    def command(self, *command: str | Path) -> list[str]:
        """What has to be run here so that *command* runs there."""
        hosts = self.home / "hosts"
        lines = [f"{address} {name}\n" for name, address in self.network.names.items()]
        hosts.write_text("127.0.0.1 localhost\n" + "".join(lines))
        # "ip netns exec" gives the program a view of the mounts that is its own.
        known = ("sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts))
        return ["ip", "netns", "exec", self.namespace, *known, *map(str, command)]

    def variables(
        self, folder: Path = Path("/usr/local/bin"), home: Path | None = None
    ) -> dict[str, str]:
        """A client's environment variables there; programs in *folder* come first."""
        return _variables(folder, home or self.home)

    def environment(self, client: str) -> Environment:
        """A fresh environment with *client*, as `Environments` makes it, that runs there."""
        _delete(self.home / client)
        return _Elsewhere(self, self._environments(client))

    def remove(self) -> None:
        """End what runs there, and leave nothing of it."""
        self.network.detach(self.name)
        _delete(self.home)


class _Elsewhere(Environment):
    """An environment whose programs run on a workstation."""

    def __init__(self, workstation: Workstation, here: Environment) -> None:
        super().__init__(here.python.parents[1], here.home)
        self._workstation = workstation

    def _run(self, command: list[str], cwd: Path, code: int, variables: Mapping[str, str]) -> str:
        own = self._workstation.variables(self.python.parent, self.home)
        return self._workstation.run(*command, cwd=cwd, code=code, variables=own | dict(variables))


class _OnHost(Environment):
    """An environment whose programs run on a booted host."""

    def __init__(self, machine: Machine, place: Path) -> None:
        super().__init__(place / "env", place / "home")
        self._machine = machine

    def _run(self, command: list[str], cwd: Path, code: int, variables: Mapping[str, str]) -> str:
        own = _variables(self.python.parent, self.home) | dict(variables)
        settings = (f"{name}={value}" for name, value in own.items())
        return self._machine.run("env", "-i", f"--chdir={cwd}", *settings, *command, code=code)


def _variables(folder: Path, home: Path) -> dict[str, str]:
    """A client's environment variables on the network; programs in *folder* come first."""
    return {
        name: value
        for name, value in isolated(folder, home, 0).items()
        if not name.endswith("_proxy") and name != "PIP_TRUSTED_HOST"
    }


@contextmanager
def network() -> Iterator[Network]:
    """A network for this process alone, gone with everything on it at the end.

    What networks of killed processes left is removed, too.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}-hosts-*"):
        with taken(int(left.name.rpartition("-")[2])) as network:
            if network is not None:
                network.remove()
    with ExitStack() as held:
        network = next(filter(None, (held.enter_context(taken(n)) for n in range(256))))
        network.remove()
        try:
            network.make()
            yield network
        finally:
            network.remove()


@contextmanager
def taken(number: int) -> Iterator[Network | None]:
    """The network of that number if no process has it; this one has it meanwhile."""
    with socket.socket(socket.AF_UNIX) as mark:
        try:
            mark.bind(f"\0{PREFIX}-hosts-{number}")
        except OSError:
            yield None
        else:
            yield Network(number)


def _ip(*arguments: str, code: int | None = 0) -> str:
    return output(("ip", *arguments), code=code)


def _unmount(place: Path) -> None:
    """Unmount what is mounted at *place* and below."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mounted in (name for name in mounts if Path(name).is_relative_to(place)):
        output(("umount", "--lazy", mounted))


def _delete(place: Path) -> None:
    """Remove it, but nothing that is mounted below."""
    output(("rm", "-rf", "--one-file-system", place))
