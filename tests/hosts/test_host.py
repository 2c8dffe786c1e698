"""From a bare Debian 12 to a verified index, and what may happen to it afterwards."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.render import escapes
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.hosts.control import Control, Play
from tests.hosts.host import FILE, Host, changed_pack, last_words, release
from tests.hosts.machines import Network, Workstation
from tests.hosts.specs import NAME, settings

pytestmark = pytest.mark.hosts

SITE = "/etc/nginx/conf.d/pyindex.conf"


@pytest.fixture(scope="module")
def bare(
    network: Network, debian: Path, control: Control, variables: dict[str, object]
) -> Iterator[Host]:
    """A bare host, which the tests of this module take in hand in turn."""
    spec = settings(network.folder / "systemd")
    with network.machine("host", debian, NAME) as machine:
        yield Host(machine, control, spec, variables)


@pytest.fixture(scope="module")
def plays(bare: Host) -> list[Play]:
    """A look at the bare host, the run that makes it an index, and two more."""
    look = ("--check", "--diff")
    return [bare.play(*look), bare.play(), bare.play(), bare.play(*look)]


@pytest.fixture(scope="module")
def host(bare: Host, plays: list[Play]) -> Host:
    """The host as an index."""
    return bare


def test_one_run_makes_it_an_index_and_a_second_changes_nothing(plays: list[Play]) -> None:
    """A look before the first run says what would change, and none after it does."""
    assert [bool(play.counts()[0]) for play in plays] == [True, True, False, False]
    assert {play.counts()[1] for play in plays} == {0}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/srv/pyindex/packages", "2775 pyindex pyindex"),
        ("/var/lib/pyindex", "755 pyindex pyindex"),
        ("/var/backups/pyindex", "750 pyindex pyindex"),
        ("/run/pyindex", "750 root www-data"),
        ("/var/log/pyindex", "755 root root"),
        ("/opt/pyindex/made", "644 root root"),
    ],
)
def test_whose_the_directories_are(host: Host, path: str, owner: str) -> None:
    """Where root works, nobody else writes; the services write to state and copies."""
    assert host.machine.run("stat", "-c", "%a %U %G", path).strip() == owner


def test_contributors_put_files_in(host: Host) -> None:
    """A user of the spec may put files in, one whom the host lacks stops the play before it changes
    anything, and the end says where files go and what clients run."""
    host.machine.run("useradd", "--create-home", "ops")
    for names, code in ((["ops", "nobody-there"], 2), (["ops"], 0)):
        system = {"system": "debian-12", "contributors": names}
        settings(host.spec.parent, host=system)
        play = host.play(code=code)
        if code:
            reason = "host.contributors: nobody-there: no such user on the host"
            assert reason in " ".join(play.output.split())  # ansible wraps lines
            assert play.counts()[0] == 0
    settings(host.spec.parent)
    assert "Copy files there as root or as ops: they are published" in play.output
    command = f"pip install --index-url http://{NAME}/simple/ --trusted-host {NAME} NAME"
    assert command in play.output

    wheel = make_wheel(host.spec.parent, "by-ops", "1.0")
    host.machine.put(wheel, f"/home/ops/{wheel.name}")
    copy = ("cp", f"/home/ops/{wheel.name}", "/srv/pyindex/packages/")
    host.machine.run("runuser", "-u", "ops", "--", *copy)
    eventually(lambda: wheel.name in host.get("/simple/by-ops/"))


def test_nobody_is_led_astray_by_links(host: Host) -> None:
    """Whoever may write among the packages puts no file in another place by the play's hand, and
    what he puts in the probe's place is replaced, not run."""
    place = "/srv/pyindex/packages/pyindex_probe-1-py2.py3-none-any.whl"
    host.machine.put(b"precious", "/etc/precious", 0o666)
    host.machine.run("ln", "-sf", "/etc/precious", place)
    host.play()
    assert host.machine.run("cat", "/etc/precious") == "precious"
    assert host.machine.run("stat", "-c", "%F %U", place).strip() == "regular file pyindex"
    # Nothing that the proof started is left, nor what it installed.
    processes = host.machine.run("ps", "-eo", "uid=").split()
    assert not [uid for uid in processes if 61184 <= int(uid) < 65520]
    assert host.machine.run("sh", "-c", "ls -d /tmp/pyindex-verify-* 2>&1", code=2)


def test_a_pack_that_was_changed_is_carried_nowhere(host: Host) -> None:
    """The play stops before it changes anything, and names the file."""
    (old,) = Path(str(host.variables["pyindex_cache"])).glob("**/manifest.json")
    pack = host.spec.parent / "changed"
    shutil.copytree(old.parent, pack)
    (pack / "requirements.txt").write_text("somebody's-own==1\n")
    play = host.play(pyindex_pack=str(pack), code=2)
    assert "requirements.txt was changed" in play.output
    assert play.counts()[0] == 0


def test_systemd_reads_what_was_escaped(host: Host) -> None:
    """Each path of a unit is one path, and the same, to the systemd of the host."""
    path = '/srv/a "b" 100%i $HOME \\x Bob\'s größe;#'
    word = escapes.systemd_path(path, 252)
    missing = escapes.systemd_path(f"-{path}", 252)
    unit = (
        f"[Unit]\nRequiresMountsFor={word} /x\n"
        f"[Service]\nExecStart=/bin/echo {escapes.systemd(path)}\nReadWritePaths={missing} -/x\n"
    )
    host.machine.put(unit.encode(), "/run/systemd/system/escaped.service")
    host.machine.run("systemctl", "daemon-reload")

    def shown(name: str) -> list[str]:
        return words(host.machine.run("systemctl", "show", "--value", "-p", name, "escaped"))

    assert sorted(shown("RequiresMountsFor")) == sorted([path, "/x"])
    assert shown("ReadWritePaths") == [f"-{path}", "-/x"]
    host.machine.run("systemctl", "start", "escaped")
    said = ("journalctl", "-u", "escaped", "--output", "cat")
    eventually(lambda: f"\n{path}\n" in host.machine.run(*said))


def words(text: str) -> list[str]:
    """The words of a list as `systemctl show` writes it."""
    return [
        re.sub(r"\\(.)", r"\1", a or b) for a, b in re.findall(r'"((?:\\.|[^"])*)"|(\S+)', text)
    ]


@pytest.mark.parametrize("client", ["pip-18.1-py2.7", "pip-newest-py3.13"])
def test_a_pip_elsewhere_installs_from_it(
    host: Host, workstation: Workstation, client: str
) -> None:
    """A second machine gets a package through nginx."""
    environment = workstation.environment(client)
    index = ("--index-url", f"http://{NAME}/simple/", "--trusted-host", NAME)
    environment.run("-m", "pip", "install", *index, "pyindex-probe")
    assert environment.run("-c", "import pyindex_probe; print('there')").strip() == "there"


def test_uv_elsewhere_installs_from_it(host: Host, workstation: Workstation) -> None:
    """uv, too, with the settings that the host itself offers."""
    uv = workstation.environment("uv")
    (uv.home / "uv.toml").write_text(host.get("/-/uv.toml").partition("\n\n")[2])
    target = uv.home / "target"
    uv.run(
        *("-m", "uv", "pip", "install", "--config-file", uv.home / "uv.toml"),
        *("--target", target, "pyindex-probe"),
    )
    assert (target / "pyindex_probe.py").exists() or (target / "pyindex_probe").exists()


# (what is done to it, whether it answers then)
VERBS = [("reload", True), ("restart", True), ("stop", False), ("start", True)]


def state(host: Host) -> tuple[str, bool]:
    """How the application answers, and whether the watch runs."""
    watch = host.machine.run("systemctl", "is-active", "pyindex-watch", code=None).strip()
    return host.get("/pypi/pyindex-probe/json")[:12], watch == "active"


def test_systemctl_does_what_it_says(host: Host) -> None:
    """reload, restart, stop and start; pages and files are there throughout."""
    for verb, answers in VERBS:
        host.machine.run("systemctl", verb, "pyindex")
        wanted = ("HTTP/1.1 200" if answers else "HTTP/1.1 503", answers)
        # The socket and the watch follow a moment later.
        eventually(lambda: state(host) == wanted)  # noqa: B023
        assert "HTTP/1.1 200" in host.get(FILE)
    assert host.drop("started", "1.0") in host.get("/simple/started/")


def test_restart_and_reload_refuse_nobody(host: Host) -> None:
    """Under load no request fails, neither of pages and files nor of the application."""
    with host.load() as load:
        for verb in ("reload", "restart", "reload", "restart"):
            host.machine.run("systemctl", verb, "pyindex")
            load.wait()
        host.machine.run("systemctl", "reload", "nginx")
        load.wait()
    assert load.failures == []


def worker(host: Host) -> str:
    """The process id of one; 0, as systemd says it, if there is none."""
    children = host.machine.run("pgrep", "-P", host.main_pid("pyindex"), code=None).split()
    return children[0] if children else "0"


KILLED: list[tuple[str, Callable[[Host], str]]] = [
    ("a worker", worker),
    ("gunicorn", lambda host: host.main_pid("pyindex")),
    ("the watch", lambda host: host.main_pid("pyindex-watch")),
    ("nginx", lambda host: host.main_pid("nginx")),
]


@pytest.mark.parametrize(("what", "find"), KILLED, ids=[what for what, _ in KILLED])
def test_what_is_killed_comes_back(
    host: Host,
    what: str,
    find: Callable[[Host], str],
    record_property: Callable[[str, object], None],
) -> None:
    """Under load, whatever is killed; what was acknowledged before is there after."""
    project = what.replace(" ", "-")
    kept, yanked = host.drop(project, "1.0"), host.drop(project, "2.0")
    host.machine.run(
        *("runuser", "-u", "pyindex", "--", "pyindex", "yank", "--reason", "bad", yanked),
    )
    with host.load() as load:
        pid = find(host)
        host.machine.run("kill", "-KILL", pid)
        load.wait()
        assert host.drop(project, "3.0") in host.get(f"/simple/{project}/")
        eventually(lambda: find(host) not in (pid, "0"))
        load.wait()
    record_property("longest", load.longest)
    print(f"{what} killed: longest without an answer {max(load.longest.values()):.2f} s")
    page = host.get(f"/simple/{project}/")
    assert kept in page
    assert re.search(rf'{re.escape(yanked)}[^>]*data-yanked="bad"', page)


def test_a_reboot_brings_it_back(host: Host) -> None:
    """All of it starts by itself."""
    before = host.drop("rebooted", "1.0")
    host.machine.reboot()
    eventually(lambda: "HTTP/1.1 200" in host.get("/pypi/pyindex-probe/json"))
    assert before in host.get("/simple/rebooted/")
    assert host.drop("rebooted", "2.0") in host.get("/simple/rebooted/")
    assert host.machine.run("systemctl", "--failed", "--no-legend").strip() == ""


def test_what_systemd_keeps_from_the_services(host: Host) -> None:
    """They cannot write to the packages, and only what has to can be seen as unsafe."""
    for unit in ("pyindex.service", "pyindex-watch.service"):
        shown = host.machine.run("systemd-analyze", "security", "--no-pager", unit)
        print(unit, shown.splitlines()[-1])
        exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", shown)
        assert exposure and float(exposure[1]) <= 1.5, shown
        pid = host.main_pid(unit)
        touch = ("nsenter", "-t", pid, "-m", "touch", "/srv/pyindex/packages/x")
        assert "Read-only file system" in host.machine.run(*touch, code=1)


def test_nobody_edits_what_is_rendered_unseen(host: Host) -> None:
    """On the host, too, the difference between the spec and the files is told; a run that fails at
    somebody else's fault is made up for by the next."""
    diff = ("pyindex", "render", "--diff")
    assert host.machine.run(*diff) == ""
    host.machine.run("sed", "-i", "s/^Backlog=.*/Backlog=7/", "/etc/systemd/system/pyindex.socket")
    host.machine.run("sed", "-i", "s/server_tokens off/server_tokens on/", SITE)
    said = host.machine.run(*diff, code=1)
    assert "-Backlog=7" in said and "-    server_tokens on" in said
    play = host.play(code=2)
    for path in ("/etc/systemd/system/pyindex.socket", SITE):
        text = f"host: {path}: edited on the host; move the change into the spec or a drop-in"
        assert f"{text}, then run mv {path} /root/ there" in " ".join(play.output.split())
        host.machine.run("mv", path, "/root/")
    assert play.counts()[0] == 0
    stranger = "/etc/nginx/conf.d/stranger.conf"
    host.machine.put(b"garbage on;\n", stranger)
    assert 'unknown directive "garbage"' in last_words(host.play(code=2), 2)
    host.machine.run("rm", stranger)
    before = host.machine.run("pgrep", "-P", host.main_pid("nginx"))
    assert host.play().counts()[0] > 0
    assert host.machine.run(*diff) == ""
    # It was reloaded.
    eventually(lambda: host.machine.run("pgrep", "-P", host.main_pid("nginx")) != before)


def test_an_upgrade_refuses_nobody_and_there_is_a_way_back(host: Host) -> None:
    """Another release takes over under load; `--tags rollback` goes back to the one before. Tags
    that leave it out change nothing."""
    first = release(host)
    pack, second = changed_pack(host, "0.1.1", "appliance/__init__.py", '"""Another."""\n')
    play = host.play("--tags", "nginx", pyindex_pack=str(pack), code=2)
    missing = f"its release {second} is not installed on the host, and the tags of this play leave"
    assert missing in " ".join(play.output.split())
    assert play.counts()[0] == 0
    settings(host.spec.parent, nginx={"names": ["another.lab.example"]})
    with host.load() as load:
        host.play(pyindex_pack=str(pack))
        load.wait()
    assert load.failures == []
    assert "another.lab.example" in host.machine.run("nginx", "-T")
    assert release(host) == second
    loaded = host.machine.run("cat", f"/proc/{worker(host)}/cmdline")
    assert second in loaded or "current" in loaded
    with host.load() as load:
        host.play("--tags", "rollback", pyindex_pack=str(pack))
        load.wait()
    assert load.failures == []
    assert release(host) == first
    assert "another.lab.example" not in host.machine.run("nginx", "-T")
    settings(host.spec.parent)


def test_a_release_that_does_not_work_is_taken_back(host: Host) -> None:
    """The play fails with the reason, and the release before runs again."""
    first = release(host)
    broken = "raise SystemExit('a broken release')\n"
    pack, broken_one = changed_pack(host, "0.1.2", "appliance/wsgi.py", broken)
    play = host.play(pyindex_pack=str(pack), code=2, pyindex_verify_seconds=5)
    assert f"{broken_one} failed" in play.output
    assert release(host) == first
    assert "HTTP/1.1 200" in host.get("/pypi/pyindex-probe/json")
    assert host.play().counts() == (0, 0)


# Takes the port of the next spec while a play switches to it, and keeps the way back from working.
THIEF = f"""\
until grep -q :8090 {SITE}; do sleep 0.05; done
python3 -m http.server 8090 &
while grep -q :8090 {SITE}; do sleep 0.05; done
echo 'garbage on;' >/etc/nginx/conf.d/stranger.conf
wait
"""


def test_the_first_failure_is_the_last_thing_said(host: Host) -> None:
    """A port that is taken while a play upgrades is its last word, also if the way back fails."""
    pack, second = changed_pack(host, "0.1.3", "appliance/__init__.py", '"""A third."""\n')
    settings(host.spec.parent, url=f"http://{NAME}:8090")
    host.machine.run("systemd-run", "--quiet", "--unit=thief", "sh", "-c", THIEF)
    play = host.play(pyindex_pack=str(pack), code=2)
    taken = r"host: port 8090 is taken by python3 \(pid \d+\); stop it, or choose another port"
    assert re.match(taken, last_words(play)), play.output
    message = play.output[
        play.output.rindex(f"The release {second} failed, and so did the return") :
    ]
    assert message.index('directive "garbage"') < message.index("bind() to 0.0.0.0:8090 failed")

    # As long as it is taken, the look beforehand finds it.
    again = host.play(code=2)
    assert re.match(taken, last_words(again)) and again.counts()[0] == 0
    host.machine.run("systemctl", "stop", "thief")
    host.machine.run("rm", "/etc/nginx/conf.d/stranger.conf")
    settings(host.spec.parent)
    host.play()
    assert host.play().counts() == (0, 0)


def test_the_catalog_is_backed_up_and_restored(host: Host, tmp_path: Path) -> None:
    """`--tags backup` fetches a copy while it runs, `--tags restore` puts it back."""
    wheel = host.drop("decided", "1.0")
    yank = ("yank", "-c", "/etc/pyindex/pyindex.yml", wheel)
    pyindex = ("runuser", "-u", "pyindex", "--", "/opt/pyindex/current/bin/pyindex")
    host.play("--tags", "backup", pyindex_backups=str(tmp_path))
    host.machine.run(*pyindex, *yank)
    assert "data-yanked" in host.get("/simple/decided/")
    (copy,) = tmp_path.glob("*.sqlite")
    host.play("--tags", "restore", pyindex_restore_file=str(copy))
    assert "data-yanked" not in host.get("/simple/decided/")
    assert host.drop("decided", "2.0") in host.get("/simple/decided/")


def test_the_daily_backup_runs(host: Host) -> None:
    """The timer is waiting, and what it starts leaves a copy."""
    assert "pyindex-backup" in host.machine.run("systemctl", "list-timers", "--no-legend")
    before = host.machine.run("ls", "/var/backups/pyindex", code=None).split()
    host.machine.run("systemctl", "start", "pyindex-backup")
    (new,) = set(host.machine.run("ls", "/var/backups/pyindex").split()) - set(before)
    assert new.startswith("catalog-")


def test_supervisor_takes_over_from_systemd(host: Host) -> None:
    """Another manager in the spec: one more run, and the same index under supervisor. The port that
    systemd has for us, and then supervisor, is no problem."""
    settings(host.spec.parent, server={"bind": "port"})
    host.play()
    settings(host.spec.parent, server={"manager": "supervisor", "bind": "port"})
    host.play()
    assert host.play().counts() == (0, 0)
    status = host.machine.run("supervisorctl", "status")
    assert re.findall(r"^pyindex:pyindex-(\w+) +(\w+)", status, re.M) == [
        ("server", "RUNNING"),
        ("watch", "RUNNING"),
    ]
    assert host.machine.run("ls", "/etc/systemd/system").count("pyindex") == 0
    assert "HTTP/1.1 200" in host.get("/pypi/pyindex-probe/json")
    with host.load() as load:
        for pid in re.findall(r"pid (\d+)", status):
            host.machine.run("kill", "-KILL", pid)
            load.wait()
    assert host.drop("supervised", "1.0") in host.get("/simple/supervised/")
    host.machine.reboot()
    eventually(lambda: "HTTP/1.1 200" in host.get("/pypi/pyindex-probe/json"))


def test_it_can_be_removed(host: Host) -> None:
    """`--tags uninstall` leaves packages and catalog, and nothing else of ours."""
    host.play("--tags", "uninstall")
    for place in ("/opt/pyindex", "/etc/pyindex", "/usr/local/bin/pyindex", SITE):
        host.machine.run("test", "!", "-e", place)
    host.machine.run("test", "-e", "/var/lib/pyindex/catalog.sqlite")
    assert "pyindex_probe" in host.machine.run("ls", "/srv/pyindex/packages")
