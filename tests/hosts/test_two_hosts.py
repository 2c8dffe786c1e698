"""Two hosts that are set up at once, with certificates of a private CA."""

from pathlib import Path

import pytest

from tests.hosts.control import Control
from tests.hosts.machines import Network, Workstation
from tests.hosts.specs import settings

pytestmark = pytest.mark.hosts


def test_two_hosts_with_https_of_a_private_ca(
    network: Network,
    debian: Path,
    control: Control,
    variables: dict[str, object],
    workstation: Workstation,
    tmp_path: Path,
) -> None:
    """Both are set up at once, and clients old and new install over HTTPS; a certificate that is
    made again reaches its host alone, by the play that a timer runs."""
    tls = {name: f"/etc/pyindex/tls/{name}.pem" for name in ("certificate", "key", "ca")}
    authority = {"pyindex_private_ca": True, "pyindex_private_ca_directory": str(tmp_path / "ca")}
    listed, urls = {}, []
    with (
        network.machine("one", debian, "one.lab.example") as one,
        network.machine("two", debian, "two.lab.example") as two,
    ):
        for machine in (one, two):
            urls.append(f"https://{machine.name}.lab.example/py")
            path = settings(tmp_path / machine.name, url=urls[-1], nginx={"tls": tls})
            listed[machine.name] = str(path)
        own = {"specs": listed, "pyindex_spec": "{{ specs[inventory_hostname] }}"}
        given = variables | authority | own
        play = control.play(one, two, variables=given)
        assert all(play.counts(name)[1] == 0 for name in listed)
        again = control.play(one, two, variables=given)
        assert all(again.counts(name) == (0, 0) for name in listed)
        for url in urls:
            _install_over_https(workstation, url, tmp_path / "ca")

        (tmp_path / "ca" / "one.lab.example.pem").unlink()
        renewal = control.play(one, two, variables=given, arguments=("--tags", "certificates"))
        # On the control machine, the host's file, nginx.
        assert (renewal.counts("one"), renewal.counts("two")) == ((3, 0), (0, 0))
        for machine in (one, two):
            name = f"{machine.name}.lab.example"
            shown = f"import ssl; print(ssl.get_server_certificate(('{name}', 443)))"
            served = workstation.environment("pip-newest-py3.13").run("-c", shown)
            assert served.split() == (tmp_path / "ca" / f"{name}.pem").read_text().split()


def _install_over_https(workstation: Workstation, url: str, authority: Path) -> None:
    (certificate,) = [path for path in authority.glob("ca*.pem") if "key" not in path.name]
    index = ("--index-url", f"{url}/simple/")
    for client in ("pip-18.1-py2.7", "pip-newest-py3.13"):
        environment = workstation.environment(client)
        pip = ("-m", "pip", "install", "--cert", certificate, *index, "pyindex-probe")
        environment.run(*pip)
        assert environment.run("-c", "import pyindex_probe; print('there')").strip() == "there"
    uv = workstation.environment("uv")
    uv.run(
        *("-m", "uv", "pip", "install", "--target", uv.home / "target"),
        *("--default-index", f"{url}/simple/", "pyindex-probe"),
        variables={"SSL_CERT_FILE": str(certificate)},
    )
    plain = workstation.run("curl", "-s", "-I", url.replace("https:", "http:"))
    assert f"Location: {url}" in plain or f"location: {url}" in plain
