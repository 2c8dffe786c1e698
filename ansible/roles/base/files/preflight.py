"""Check what a play needs of a machine and change nothing, for Python 2.7 and newer.

preflight.py JSON prints a JSON object: "problems", a list of lines, "missing", the names of OS
packages to install, and "selinux": enforcing, permissive or disabled. The request has a key per
check; a key that it lacks leaves the check out:

- contributors: names of users
- packages: a list of {name, file}; with "selinux": true, only where SELinux is enabled
- supplied: {directory, names}, packages that the control machine copies; repositories are not asked
- repositories: {kind: "deb" or "rpm", yum: a list of {name, baseurl, gpgkey}, unused: file names}
- listening: addresses with ports, as 0.0.0.0:80 and [::]:80
- space: a list of {path, mib, use}; with "unless", only if that path is missing
- now: seconds since 1970 on the control machine; seconds: the difference that is allowed
- certificates: a list of {key, path, role, remedy}; the role is certificate, key or ca
- files: {opt, digests}: directory of the releases, SHA-256 of the rendered files by path
- selinux: whether the play configures SELinux on this system
"""

import calendar
import errno
import glob
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from binascii import unhexlify

MIB = 1 << 20


def run(command, **options):
    """The exit code and the output of a program."""
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    output = process.communicate()[0].decode("utf-8", "replace")
    return process.returncode, output


def read(path):
    """The text of a file, empty if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except (IOError, OSError):
        return ""


def check_contributors(names):
    for name in names:
        try:
            pwd.getpwnam(name)
        except KeyError:
            yield (
                "host.contributors: %s: no such user on the host; create it, or correct the spec"
                % name
            )


def selinux_state():
    return {"1": "enforcing", "0": "permissive"}.get(read("/sys/fs/selinux/enforce"), "disabled")


def check_selinux(is_configured):
    if not is_configured and selinux_state() == "enforcing":
        yield "SELinux: enforcing, which the play configures on centos-7 only; make it permissive"


def missing_packages(packages):
    is_enabled = selinux_state() != "disabled"
    needed = [each for each in packages if is_enabled or not each.get("selinux")]
    return [each["name"] for each in needed if not os.path.exists(each["file"])]


def check_packages(missing, request):
    """Problems of packages: not supplied, or not to be had from the repositories of the host."""
    supplied, repositories = request.get("supplied"), request.get("repositories")
    if supplied:
        for name in sorted(set(missing) - set(supplied["names"])):
            yield (
                "%s: missing on the host, and not among the packages of %s on the control machine;"
                " put it there with its dependencies" % (name, supplied["directory"])
            )
    elif missing and repositories:
        folder = tempfile.mkdtemp(prefix="pyindex-preflight-")
        try:
            output = download(missing, repositories, folder)
            files = os.listdir(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        lacking = [name for name in missing if not any(is_of(file, name) for file in files)]
        if lacking:
            yield lacking_error(lacking, repositories["kind"], output)


def is_of(file, package):
    """Whether a file name is one of a package: NAME_1.0_amd64.deb or NAME-1.0-1.x86_64.rpm."""
    return re.match(re.escape(package) + r"(_|-[0-9]).*[.](deb|rpm)$", file) is not None


def lacking_error(names, kind, output):
    program, variable = ("apt-get", "pyindex_debs") if kind == "deb" else ("yum", "pyindex_rpms")
    other = "" if kind == "deb" else ", or set pyindex_yum_repos"
    reasons = re.findall("(?m)^(?:E: | +(?=.* : Depends: )|Error: |.*Errno )(.+)", output)
    reason = (reasons or output.strip().splitlines()[-1:] or ["no output"])[0].strip()
    text = "%s: missing on the host, and %s cannot fetch %s: %s; repair its repositories%s, or supply"
    pronoun = "it" if len(names) == 1 else "them"
    return (text + " files with %s") % (", ".join(names), program, pronoun, reason, other, variable)


def download(names, repositories, folder):
    """Have the package manager fetch packages, with what they need, into a folder that is then
    deleted: only this shows that its repositories answer. Returns the output."""
    os.mkdir(os.path.join(folder, "partial"))
    if repositories["kind"] == "deb":
        settings = ["Dir::Cache::archives=" + folder, "Debug::NoLocking=1", "Acquire::Retries=0"]
        settings += ["Acquire::http::Timeout=20", "Acquire::https::Timeout=20"]
        command = ["apt-get", "-q", "-y", "--no-install-recommends", "--download-only"]
        command += ["-o" + setting for setting in settings] + ["install"]
    else:
        settings = ["cachedir=" + os.path.join(folder, "cache"), "timeout=20", "retries=1"]
        settings += ["reposdir=" + yum_repositories(repositories, os.path.join(folder, "repos"))]
        command = ["yum", "-y", "--downloadonly", "--downloaddir=" + folder]
        command += ["--setopt=" + setting for setting in settings] + ["install"]
    try:
        return run(command + names)[1]
    except OSError as error:
        return "%s: %s" % (command[0], error.strerror)


def yum_repositories(repositories, folder):
    """A folder with the repositories that the play will leave on the host."""
    os.mkdir(folder)
    unused = repositories["unused"] if repositories["yum"] else []
    for path in glob.glob("/etc/yum.repos.d/*.repo"):
        if os.path.basename(path) not in unused + ["pyindex.repo"]:
            shutil.copy(path, folder)
    with open(os.path.join(folder, "pyindex.repo"), "w") as file:
        for each in repositories["yum"]:
            file.write("[%(name)s]\nname=%(name)s\nbaseurl=%(baseurl)s\n" % each)
            file.write("enabled=1\ngpgcheck=1\ngpgkey=%(gpgkey)s\n" % each)
    return folder


def listeners():
    """Each listening TCP socket as (address, port, inode)."""
    for family, path in ((socket.AF_INET, "/proc/net/tcp"), (socket.AF_INET6, "/proc/net/tcp6")):
        for fields in [line.split() for line in read(path).splitlines()[1:]]:
            if fields[3] == "0A":  # TCP_LISTEN
                digits, port = fields[1].split(":")
                raw = unhexlify(digits.encode())  # words in the byte order of the machine
                words = struct.unpack("=%dI" % (len(raw) // 4), raw)
                address = socket.inet_ntop(family, struct.pack("!%dI" % len(words), *words))
                yield address, int(port, 16), fields[9]


def holders(inode):
    """The processes that have a socket."""
    pids = set()
    for path in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(path) == "socket:[%s]" % inode:
                pids.add(int(path.split("/")[2]))
        except OSError:
            pass  # it ended
    return sorted(pids)


def is_ours(pid, address, port):
    """Whether a process is nginx as a service, one of pyindex, or systemd for pyindex.socket."""
    if re.search("(?m)/nginx[.]service$", read("/proc/%d/cgroup" % pid)):
        return True
    if pid == 1:
        output = run(["systemctl", "show", "--property=Listen", "pyindex.socket"])[1]
        return re.search(r"(?<![0-9])%s\]?:%d " % (re.escape(address), port), output) is not None
    try:
        return pwd.getpwuid(os.stat("/proc/%d" % pid).st_uid).pw_name == "pyindex"
    except (KeyError, OSError):
        return False


def overlaps(wanted, taken):
    """Whether no program can listen at an address while another does; a socket of :: may take IPv4
    too."""
    if (":" in wanted) != (":" in taken):
        return taken == "::"
    return wanted == taken or bool({"0.0.0.0", "::"} & {wanted, taken})


def check_ports(listening):
    taken = list(listeners())
    for port in sorted(set(int(each.rpartition(":")[2]) for each in listening)):
        addresses = [each.rpartition(":")[0].strip("[]") for each in listening]
        addresses = [each for each, of in zip(addresses, listening) if of.endswith(":%d" % port)]
        for address, other, inode in taken:
            if other == port and any(overlaps(each, address) for each in addresses):
                pids = holders(inode)
                if not any(is_ours(pid, address, port) for pid in pids):
                    yield port_error(port, pids)
                    break


def port_error(port, pids):
    names = ["%s (pid %d)" % (read("/proc/%d/comm" % pid).strip(), pid) for pid in pids[:1]]
    return "port %d is taken by %s; stop it, or choose another port in the spec" % (
        port,
        names[0] if names else "a process of another container",
    )


def existing(path):
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def check_space(needs):
    """Problems of file systems, each with all that the play writes to it."""
    by_device = {}
    for need in needs:
        if not os.path.lexists(need.get("unless") or "/nonexistent"):
            place = existing(need["path"])
            by_device.setdefault(os.stat(place).st_dev, []).append((place, need))
    for group in by_device.values():
        status = os.statvfs(group[0][0])
        free = status.f_bavail * status.f_frsize // MIB
        total = sum(int(need["mib"]) for _, need in group)
        uses = ", ".join("%(use)s %(mib)s MiB in %(path)s" % need for _, need in group)
        if status.f_flag & 1:  # ST_RDONLY
            yield "%s: mounted read-only; remount it read-write" % group[0][0]
        elif free < total:
            text = "%s: only %d MiB free, %d MiB required (%s); free some disk space"
            yield text % (group[0][1]["path"], free, total, uses)
        elif status.f_files and status.f_favail < 20000:
            text = "%s: only %d inodes free, 20000 required; delete some files"
            yield text % (group[0][1]["path"], status.f_favail)


def check_clock(now, seconds):
    difference = int(time.time() - now)
    if abs(difference) > seconds:
        yield (
            "clock: %d s %s that of the control machine, at most %d s allowed"
            " (pyindex_clock_seconds); set both clocks, as with timedatectl"
            % (abs(difference), "ahead of" if difference > 0 else "behind", seconds)
        )


def check_certificates(certificates):
    """Problems of files that nginx reads: missing, unreadable, expired, without its key."""
    paths = dict((each["role"], each["path"]) for each in certificates)
    for each in certificates:
        where = "%s: %s" % (each["key"], each["path"])
        if not os.path.isfile(each["path"]):
            yield "%s: not found on %s; %s" % (where, each["machine"], each["remedy"])
        elif each["role"] != "key":
            for text in certificate_errors(each["path"]):
                yield "%s: %s on %s; %s" % (where, text, each["machine"], each["remedy"])
        elif os.path.isfile(paths.get("certificate", "")):
            try:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(paths["certificate"], each["path"], lambda: "")
            except (ssl.SSLError, EnvironmentError) as error:
                text = "%s: not the unencrypted key of %s (%s); %s"
                yield text % (where, paths["certificate"], error, each["remedy"])


def certificate_errors(path):
    try:
        # The only reader of certificate files that Python has; openssl may not be installed.
        decoded = ssl._ssl._test_decode_cert(path)
    except (ssl.SSLError, EnvironmentError):
        return ["not a certificate (PEM)"]
    first, last = [
        calendar.timegm(time.strptime(decoded[name], "%b %d %H:%M:%S %Y GMT"))
        for name in ("notBefore", "notAfter")
    ]
    if last < time.time():
        return ["expired on %s" % time.strftime("%Y-%m-%d", time.gmtime(last))]
    if first > time.time():
        return ["not valid before %s" % time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(first))]
    return []


def check_files(opt, digests):
    """Problems of files that a play has placed and programs have loaded, and that another program
    or an operator has changed since: the play would replace them."""
    state = json.loads(read(opt + "/host.json") or "{}")
    stored = read("%s/releases/%s/files.json" % (opt, state.get("current") or "-"))
    for file in json.loads(stored or "[]"):
        content = read_bytes(file["path"])
        if file["part"] not in state.get("loaded", {}) or content is None:
            continue
        digest = hashlib.sha256(content).hexdigest()
        # As appliance.host writes it.
        if content.decode("utf-8", "replace") == file["content"] or digest == digests.get(file["path"]):
            continue
        yield (
            "%s: edited on the host; move the change into the spec or a drop-in, then run"
            " mv %s /root/ there" % (file["path"], file["path"])
        )


def read_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (IOError, OSError) as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return None


def main(text):
    request = json.loads(text)
    missing = missing_packages(request.get("packages", []))
    checks = [
        check_contributors(request.get("contributors", [])),
        check_selinux(request.get("selinux", True)),
        check_ports(request.get("listening", [])),
        check_space(request.get("space", [])),
        check_clock(float(request.get("now", time.time())), int(request.get("seconds", 60))),
        check_certificates(request.get("certificates", [])),
        check_files(**request.get("files", {"opt": "", "digests": {}})),
        check_packages(missing, request),
    ]
    problems = [problem for check in checks for problem in check]
    print(json.dumps({"problems": problems, "missing": missing, "selinux": selinux_state()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
