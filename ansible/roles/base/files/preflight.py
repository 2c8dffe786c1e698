"""Check what a play needs of a machine and change nothing, for Python 2.7 and newer.

preflight.py JSON prints the problems as a list of lines in JSON. The request has a key per check; a
key that it lacks leaves the check out:

- contributors: names of users
- listening: addresses with ports, as 0.0.0.0:80 and [::]:80
- space: a list of {path, mib, use}; with "unless", only if that path is missing
- clock: {now, seconds}: since 1970 on the control machine, and the difference that is allowed
- certificates: a list of {key, path, role, machine, remedy}; the role is certificate, key or ca
- files: {opt, digests}: directory of the releases, SHA-256 of the rendered files by path
- selinux: {is_configured}: whether the play configures SELinux on this system
"""

import calendar
import errno
import glob
import hashlib
import json
import os
import pwd
import re
import socket
import ssl
import struct
import subprocess
import sys
import time
from binascii import unhexlify

MIB = 1 << 20


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


def check_selinux(is_configured):
    if not is_configured and read("/sys/fs/selinux/enforce") == "1":
        yield "SELinux: enforcing, which the play configures on centos-7 only; make it permissive"


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
        command = ["systemctl", "show", "--property=Listen", "pyindex.socket"]
        output = subprocess.Popen(command, stdout=subprocess.PIPE).communicate()[0].decode()
        return re.search(r"[=[]%s\]?:%d\b" % (re.escape(address), port), output) is not None
    try:
        return pwd.getpwuid(os.stat("/proc/%d" % pid).st_uid).pw_name == "pyindex"
    except (KeyError, OSError):
        return False


def is_free(address, port):
    """Whether the kernel lets a program listen at an address of IPv4, as nginx does; nothing
    listens there meanwhile."""
    probe = socket.socket(socket.AF_INET)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
    except (socket.error, EnvironmentError) as error:
        return error.errno != errno.EADDRINUSE
    finally:
        probe.close()
    return True


def in_the_way(wanted, port, taken):
    """The listeners, as (address, inode), beside which no program can listen at an address."""
    same = [
        each
        for each in taken
        if (":" in each[0]) == (":" in wanted)
        and (each[0] == wanted or {"0.0.0.0", "::"} & {each[0], wanted})
    ]
    # A socket of :: takes IPv4, too, if its program says so, which only the kernel knows.
    if not same and ":" not in wanted and not is_free(wanted, port):
        return [each for each in taken if each[0] == "::"]
    return same


def check_ports(listening):
    taken, wanted = {}, {}
    for address, port, inode in listeners():
        taken.setdefault(port, []).append((address, inode))
    for each in listening:
        address, _, port = each.rpartition(":")
        wanted.setdefault(int(port), []).append(address.strip("[]"))
    for port, addresses in sorted(wanted.items()):
        for address, inode in [
            found for each in addresses for found in in_the_way(each, port, taken.get(port, []))
        ]:
            pids = holders(inode)
            if not any(is_ours(pid, address, port) for pid in pids):
                yield port_error(port, pids)
                break


def port_error(port, pids):
    name = "a process of another container"
    if pids:
        name = "%s (pid %d)" % (read("/proc/%d/comm" % pids[0]).strip(), pids[0])
    return "port %d is taken by %s; stop it, or choose another port in the spec" % (port, name)


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
    difference = int(time.time() - float(now))
    if abs(difference) > int(seconds):
        yield (
            "clock: %d s %s that of the control machine, at most %d s allowed"
            " (pyindex_clock_seconds); set both clocks, as with timedatectl"
            % (abs(difference), "ahead of" if difference > 0 else "behind", int(seconds))
        )


def check_certificates(certificates):
    """Problems of files that nginx reads: missing, unreadable, expired, without its key."""
    paths = {each["role"]: each["path"] for each in certificates}
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
    state = read_json(opt + "/host.json", {})
    release = "%s/releases/%s" % (opt, state.get("current") or "-")
    for file in read_json(release + "/files.json", []):
        content = read_bytes(file["path"])
        if file["part"] not in state.get("loaded", {}) or content is None:
            continue
        digest = hashlib.sha256(content).hexdigest()
        # As appliance.host writes it.
        if content.decode("utf-8", "replace") == file["content"] or digest == digests.get(
            file["path"]
        ):
            continue
        yield (
            "%s: edited on the host; move the change into the spec or a drop-in, then run"
            " mv %s /root/ there" % (file["path"], file["path"])
        )


def read_json(path, default):
    """The content of a file, the default if there is none."""
    try:
        content = json.loads(read(path) or json.dumps(default))
    except ValueError:
        content = None
    if not isinstance(content, type(default)):
        raise EnvironmentError(errno.EINVAL, "damaged; delete it and run the whole play", path)
    return content


def read_bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (IOError, OSError) as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return None


CHECKS = {
    "contributors": check_contributors,
    "listening": check_ports,
    "space": check_space,
    "clock": check_clock,
    "certificates": check_certificates,
    "files": check_files,
    "selinux": check_selinux,
}


def main(text):
    problems = []
    for name, value in sorted(json.loads(text).items()):
        try:
            problems += CHECKS[name](**value) if isinstance(value, dict) else CHECKS[name](value)
        except EnvironmentError as error:
            problems.append("%s: %s" % (error.filename or name, error.strerror))
    print(json.dumps(problems))


if __name__ == "__main__":
    main(*sys.argv[1:])
