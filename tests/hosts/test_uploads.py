"""A team's own packages on a host that a play has set up: uploads through nginx to the sandboxed
server, a private index, operators and contributors. Commands are those of the guides."""

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.hosts.control import Control
from tests.hosts.host import FILE, PAGE, Host
from tests.hosts.machines import Machine, Network, Workstation
from tests.hosts.specs import NAME
from tests.hosts.team import HTPASSWD, PACKAGES, PASSWORDS, Team, documented, team_spec

pytestmark = pytest.mark.hosts

WHEEL = "foo-1.0-py2.py3-none-any.whl"
PRIVATE = tuple(
    f"/staging/{path}"
    for path in (
        *("simple/foo/", f"packages/{WHEEL}", f"packages/{WHEEL}.metadata"),
        *("simple/", "pypi/foo/json"),
    )
)
ALICE = f"alice:{PASSWORDS['alice']}"
WRONG = "Off-with-her-head"


@pytest.fixture(scope="module")
def team(
    network: Network,
    debian: Path,
    control: Control,
    workstation: Workstation,
    variables: dict[str, object],
) -> Iterator[Team]:
    """The host after one play, with two accounts and a file that alice has uploaded."""
    directory = network.folder / "team"
    authority = {"pyindex_private_ca": True, "pyindex_private_ca_directory": f"{directory}/ca"}
    spec = team_spec(directory)
    with network.machine("host", debian, NAME) as machine:
        create_operator(machine)
        host = Host(machine, control, spec, variables | authority)
        host.play()
        made = Team(host, workstation, directory / "projects", directory / "ca" / "ca.pem")
        machine.run("sh", "-c", documented("accounts.md", "install -m 600 -o pyindex"))
        made.add_account("alice")
        made.add_account("bob")
        made.upload("foo")
        yield made


def create_operator(machine: Machine) -> None:
    """Create the user ops, who logs in with a key and may use sudo."""
    machine.run("useradd", "--create-home", "--shell", "/bin/sh", "ops")
    machine.put(b"ops ALL=(ALL:ALL) NOPASSWD: ALL\n", "/etc/sudoers.d/ops", 0o440)
    machine.run("cp", "-r", "/root/.ssh", "/home/ops/")
    machine.run("chown", "-R", "ops:", "/home/ops/.ssh")


@pytest.mark.parametrize("client", ["twine", "uv publish"])
def test_client_uploads_and_pip_installs(team: Team, client: str) -> None:
    """A client uploads over HTTPS through nginx, and pip installs the file right after."""
    project = f"by-{client.partition(' ')[0]}"
    team.upload(project, client=client)
    assert f"Successfully installed {project}-1.0" in team.install(project)


# (what a service may write to, what not)
WRITABLE = {
    "pyindex.service": ["/var/lib/pyindex", PACKAGES["staging"]],
    "pyindex-watch.service": ["/var/lib/pyindex"],
}
OTHERS = ("/", "/etc", "/etc/pyindex", "/opt/pyindex", "/var/log/pyindex", "/home/ops", "/srv")


@pytest.mark.parametrize("unit", WRITABLE)
def test_services_write_only_where_they_must(team: Team, unit: str) -> None:
    """The server can write to the packages of the index that takes uploads; neither service can
    write to any other packages, settings, programs or logs."""
    enter = ("nsenter", "-t", team.host.main_pid(unit), "-m")
    writable = []
    for path in (*OTHERS, "/var/backups/pyindex", *PACKAGES.values(), "/var/lib/pyindex"):
        attempt = 'touch "$0/.probe" && rm "$0/.probe" && echo written'
        printed = team.machine.run(*enter, "sh", "-c", attempt, path, code=None)
        assert printed == "written\n" or "Read-only file system" in printed
        writable += [path] if printed == "written\n" else []
    assert sorted(writable) == sorted(WRITABLE[unit])


def restart(machine: Machine) -> None:
    machine.run("systemctl", "restart", "pyindex")


EVENTS: dict[str, Callable[[Machine], None]] = {
    "the play": lambda machine: None,
    "a restart": restart,
    "a reboot": Machine.reboot,
}


@pytest.mark.parametrize("event", EVENTS)
def test_private_index_requires_login(team: Team, event: str) -> None:
    """After the play, a restart and a reboot, no page, file or metadata of the private index is
    sent without a login; with one, nginx sends them. The index that is for everyone needs none."""
    EVENTS[event](team.machine)
    eventually(lambda: team.statuses(PRIVATE, ALICE) == {"200"})
    assert team.statuses(PRIVATE) == {"401"}
    assert team.statuses([PAGE, FILE]) == {"200"}
    sent = [rf'"GET {path} [^"]*","status":200,.*"application":""' for path in PRIVATE[:3]]
    eventually(lambda: all(re.search(each, team.access_log()) for each in sent))
    team.upload("foo", client="uv publish")  # the same file again


def test_server_refuses_wrong_password(team: Team) -> None:
    """An upload with a wrong password is refused, and stores nothing; nothing is read with it."""
    assert team.statuses(PRIVATE, f"alice:{WRONG}") == {"401"}
    before = team.machine.run("ls", "-lA", PACKAGES["staging"])
    for client in ("twine", "uv publish"):
        output = team.upload(
            "intruder", client=client, login=("alice", WRONG), code=1 + ("uv" in client)
        )
        assert "401" in output
    assert team.machine.run("ls", "-lA", PACKAGES["staging"]) == before


def test_revoked_token_is_refused_at_once(team: Team) -> None:
    """A token that is created on the host uploads the projects of its pattern, and none after it is
    revoked there."""
    printed = team.as_operator(documented("accounts.md", "pyindex token create"))
    login = ("__token__", re.findall("pyi-[a-z2-7]{67}", printed)[0])
    team.upload("acme-tool", login=login)
    assert "403" in team.upload("other", login=login, code=1)
    assert "by token ci from" in team.as_operator("pyindex log --project acme-tool")
    team.as_operator(documented("accounts.md", "pyindex token revoke"))
    assert "401" in team.upload("acme-tool", "2.0", login=login, code=1)


def test_group_manages_uploaded_files(team: Team) -> None:
    """An uploaded file belongs to the service, every user may read it, and a contributor moves or
    deletes it as any other package file."""
    team.upload("managed")
    name = "managed-1.0-py2.py3-none-any.whl"
    path = f"{PACKAGES['staging']}/{name}"
    assert team.machine.run("stat", "-c", "%a %U %G", path) == "644 pyindex pyindex\n"
    move = f"mkdir -p {PACKAGES['staging']}/old && mv {path} {PACKAGES['staging']}/old"
    team.machine.run("runuser", "-u", "ops", "--", "sh", "-c", move)
    eventually(lambda: team.statuses([f"/staging/packages/old/{name}"], ALICE) == {"200"})
    team.machine.run("runuser", "-u", "ops", "--", "rm", f"{PACKAGES['staging']}/old/{name}")
    eventually(lambda: team.statuses(["/staging/simple/managed/"], ALICE) == {"404"})
    # No directory of an upload remains.
    assert ".pyindex" not in team.machine.run("ls", "-A", PACKAGES["staging"])


def test_operator_promotes_and_audits(team: Team) -> None:
    """An operator with sudo promotes a release, sees who changed and who fetched it, removes it and
    returns it from the trash; the journal has the name of the operator."""
    promoted = team.as_operator(documented("staging.md", "pyindex promote"))
    assert f"main: added {WHEEL}" in promoted
    team.install("foo")
    page = "/simple/foo/"
    assert WHEEL in team.get(page)

    log = team.as_operator(documented("audit.md", "pyindex log --project"))
    address = re.escape(team.workstation.address)
    assert re.search(rf" staging added {WHEEL} .* by alice from {address}$", log, re.M), log
    assert re.search(rf" main promoted {WHEEL} .* by ops$", log, re.M), log
    who = documented("audit.md", "pyindex who").replace("2.0", "1.0")
    fetched = rf" {address} alice 200 \d+ {WHEEL} pip/"
    eventually(lambda: re.search(fetched, team.as_operator(who)))

    team.as_operator("pyindex remove foo==1.0 --index main")
    assert " 404 " in team.get(page).splitlines()[0]
    assert f" main {WHEEL} by ops " in team.as_operator("pyindex trash list")
    restored = team.as_operator("pyindex trash restore foo==1.0")
    assert f"main: restored {WHEEL}" in restored
    assert WHEEL in team.get(page)
    path = f"{PACKAGES['main']}/{WHEEL}"
    assert team.machine.run("stat", "-c", "%a %U %G", path) == "644 pyindex pyindex\n"
    as_service = ("runuser", "-u", "pyindex", "--", "pyindex", "log", "--project", "foo")
    assert WHEEL in team.machine.run(*as_service)


def test_change_of_rights_has_zero_downtime(team: Team) -> None:
    """A play with other rights restarts the server; meanwhile no reader fails, not even in the
    private index. Then they hold."""
    login = ("bob", PASSWORDS["bob"])
    assert "403" in team.upload("by-bob", login=login, code=1)
    basic = base64.b64encode(ALICE.encode()).decode()
    with (
        team.load([PAGE, FILE, "/pypi/pyindex-probe/json"]) as readers,
        team.load(PRIVATE[:3], Authorization=f"Basic {basic}") as members,
    ):
        play = team.play(uploaders=("alice", "bob", "tokens"))
        readers.wait()
        members.wait()
    assert play.counts()[0] > 0
    assert readers.failures + members.failures == []
    team.upload("by-bob", login=login)


def test_no_other_user_reads_accounts(team: Team) -> None:
    """Neither contributors nor other users can read the hashes or the tokens."""
    for path in (HTPASSWD, "/var/lib/pyindex/tokens"):
        for user in ("ops", "nobody", "www-data"):
            read = ("runuser", "-u", user, "--", "head", path)
            assert "Permission denied" in team.machine.run(*read, code=1)


def test_no_log_has_passwords(team: Team) -> None:
    """No log of the host and no journal has a password, right or wrong, or a token; they have the
    accounts."""
    team.statuses(PRIVATE, ALICE)
    team.statuses(PRIVATE[:1], f"alice:{WRONG}")
    secrets = [*PASSWORDS.values(), WRONG, "pyi-"]
    secrets += [base64.b64encode(f"alice:{each}".encode()).decode() for each in secrets]
    written = ("grep", "-r", "-a", "-l", "-F")
    logs = ("/var/log", "/run/log", "/var/lib/pyindex/catalog.sqlite")
    patterns = [f"--regexp={each}" for each in secrets]
    assert team.machine.run(*written, *patterns, *logs, code=None).strip() == ""
    assert "/var/log/pyindex/access.log" in team.machine.run(*written, "alice", *logs)
    journal = team.machine.run("journalctl", "--no-pager", "--output", "export")
    assert "wrong password for account 'alice'" in journal
    assert [each for each in secrets if each in journal] == []


def test_supervisor_runs_private_host(team: Team) -> None:
    """Under supervisor, with no index for everyone, the play verifies by a token of its own, which
    it revokes; uploads and installs go on."""
    play = team.play(readers=("members",), server={"manager": "supervisor"})
    assert "log in" in play.output
    assert team.machine.run("pyindex", "token", "list").count("verify") == 0
    assert team.statuses([PAGE, FILE, *PRIVATE]) == {"401"}
    team.upload("supervised")
    assert "Successfully installed supervised-1.0" in team.install("supervised")
