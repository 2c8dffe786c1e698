"""What is different from one operating system to the next."""

from dataclasses import dataclass

from appliance.errors import SpecError
from appliance.spec import Spec


@dataclass(frozen=True)
class System:
    """Facts of an operating system as its distribution ships it."""

    name: str
    systemd: int  # version
    supervisor: str  # file of ours that its supervisor includes
    web_user: str  # as whom nginx serves, user and group
    firewalld: bool
    selinux: bool


_SYSTEMS = {
    system.name: system
    for system in (
        System(
            name="centos-7",
            systemd=219,
            supervisor="/etc/supervisord.d/pyindex.ini",
            web_user="nginx",
            firewalld=True,
            selinux=True,
        ),
        System(
            name="debian-12",
            systemd=252,
            supervisor="/etc/supervisor/conf.d/pyindex.conf",
            web_user="www-data",
            firewalld=False,
            selinux=False,
        ),
    )
}


def of(spec: Spec) -> System:
    """The system of the spec's host. Raises SpecError if it does not say."""
    if spec.host.system is None:
        known = " or ".join(_SYSTEMS)
        raise SpecError([f"host.system: missing; to render files for a host, set it to {known}"])
    return _SYSTEMS[spec.host.system]


def uses_socket(spec: Spec) -> bool:
    """Whether nginx asks the application through a Unix socket. SELinux on CentOS 7
    denies nginx a Unix socket of pyindex, and allows the port with one boolean."""
    if spec.server.bind is None:
        return spec.host.system not in (None, "centos-7")
    return spec.server.bind == "socket"
