"""Two hosts that are set up at once: not while one is broken, then with HTTPS of a private CA."""

import re
from pathlib import Path

import pytest

from tests.certificates import pair
from tests.hosts.control import Control
from tests.hosts.machines import Machine, Network, Workstation
from tests.hosts.specs import settings

pytestmark = pytest.mark.hosts

TLS = {name: f"/etc/pyindex-tls/{name}.pem" for name in ("certificate", "key", "ca")}


def test_two_hosts_with_https_of_a_private_ca(
    network: Network,
    debian: Path,
    control: Control,
    variables: dict[str, object],
    workstation: Workstation,
    tmp_path: Path,
) -> None:
    """While one is broken, nothing is changed on either, and one list names all. Then both are set
    up at once, and clients old and new install over HTTPS; a certificate that is made again reaches
    its host alone, by the play that a timer runs."""
    authority = {"pyindex_private_ca": True, "pyindex_private_ca_directory": str(tmp_path / "ca")}
    listed, urls = {}, []
    with (
        network.machine("one", debian, "one.lab.example") as one,
        network.machine("two", debian, "two.lab.example") as two,
    ):
        for machine in (one, two):
            urls.append(f"https://{machine.name}.lab.example/py")
            path = settings(tmp_path / machine.name, url=urls[-1], nginx={"tls": TLS})
            listed[machine.name] = str(path)
        own = {"specs": listed, "pyindex_spec": "{{ specs[inventory_hostname] }}"}
        given = variables | authority | own
        _play_while_one_is_broken(control, one, two, given)
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


# A program at a port of ours, a full disk, a clock that is late, a Python without a module, and a
# mirror that has gone.
BREAK = r"""
set -e
systemd-run --quiet --unit=stranger python3 -m http.server 80
mount -t tmpfs -o size=9m tmpfs /opt
echo 'import time; time.time = lambda now=time.time: now() - 900' \
  >/usr/lib/python3/dist-packages/late.pth
mkdir /root/away && mv /usr/lib/python3.11/lib-dynload/_bz2.*.so /root/away
mkdir /srv/mirror && cd /srv/mirror
for name in nginx supervisor; do
  printf 'Package: %s\nVersion: 1\nArchitecture: all\nFilename: ./%s.deb\nSize: 9\n' $name $name
  printf 'SHA256: %064d\n\n' 0
done >Packages
echo 'deb [trusted=yes] http://127.0.0.1:8000/ ./' >/etc/apt/sources.list
systemd-run --quiet --unit=mirror --property=WorkingDirectory=$PWD python3 -m http.server 8000
until apt-get -q update && apt-cache show nginx >/dev/null; do sleep 0.2; done
systemctl stop mirror
touch /root/before
"""
REPAIR = r"""
set -e
systemctl stop stranger
umount /opt
rm -r /usr/lib/python3/dist-packages/late.pth /etc/apt/sources.list /etc/pyindex-tls
mv /root/away/_bz2.*.so /usr/lib/python3.11/lib-dynload/
"""
PROBLEMS = (
    r"/usr/bin/python3: expected Python 3\.11, .* got 3\.11 without _bz2; install it whole",
    r"port 80 is taken by python3 \(pid \d+\); stop it, or choose another port in the spec",
    r"/opt: only \d MiB free, 500 MiB required \(a release and its Python .*\); free some disk",
    r"clock: (89\d|90\d) s behind that of the control machine, .*; set both clocks",
    r"nginx\.tls\.certificate: \S+: expired on 20\S+ on the host; put a valid one there, or set",
    r"nginx\.tls\.key: \S+: not the unencrypted key of \S+ \(.*\); put a valid one there, or set",
    r"nginx\.tls\.ca: \S+: not found on the host; put a valid one there, or set pyindex_tls_ca",
    r"nginx: missing on the host, and apt-get cannot fetch it: .*127\.0\.0\.1.*; repair its",
)
# Files that a play without changes may write.
CHANGED = (
    *("find", "/", "-xdev", "-newer", "/root/before", "-not", "-type", "d"),
    *(
        "-not",
        "-path",
        "/root/.ansible/*",
        "-not",
        "-path",
        "/var/log/*",
        "-not",
        "-path",
        "/root/.ssh/*",
    ),
)


def _play_while_one_is_broken(
    control: Control, one: Machine, two: Machine, given: dict[str, object]
) -> None:
    """Break the second host in each way that the look beforehand knows, play, and repair it."""
    one.run("touch", "/root/before")
    two.put(pair(-1)[0], TLS["certificate"])
    two.put(pair(1)[1], TLS["key"])
    two.run("sh", "-c", BREAK)
    own: dict[str, object] = {
        "private": {"one": True, "two": False},
        "packages": {"one": given["pyindex_os_packages"], "two": ""},
        "pyindex_private_ca": "{{ private[inventory_hostname] }}",
        "pyindex_os_packages": "{{ packages[inventory_hostname] }}",
    }
    play = control.play(one, two, variables=given | own, code=2)
    listed = play.output.partition("No host was changed.")[2].partition("PLAY RECAP")[0]
    missing = [text for text in PROBLEMS if not re.search(f"^ *two: {text}", listed, re.MULTILINE)]
    assert missing == [], listed
    assert listed.count("two: ") == len(PROBLEMS) and "one: " not in listed
    assert [machine.run(*CHANGED) for machine in (one, two)] == ["", ""]
    two.run("sh", "-c", REPAIR)


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
