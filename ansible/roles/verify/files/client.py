"""The verification install, for Python 2.7 and newer: install a package and import its module.

client.py URL CA PIP REQUIREMENT MODULE SECONDS [PROBE [PYINDEX]]: URL of the index without
/simple/, CA file or "", the wheel of a pip, seconds without progress after which it fails. With
PROBE, a file of the release, the index must serve exactly this file. With PYINDEX, the command of
the release, it logs in with a token that is revoked at the end. The host name of the URL always
resolves to this machine; TLS is verified. Exits with a line that says what failed.

An index serves programs of other users. Started by root, this becomes a user id without an account
before the first request, and ends all processes of that user.
"""

import hashlib
import os
import pwd
import re
import runpy
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

try:
    from urllib.error import HTTPError
    from urllib.parse import urlsplit
    from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener
except ImportError:
    from urllib2 import HTTPError, HTTPSHandler, ProxyHandler, Request, build_opener
    from urlparse import urlsplit

# The range that systemd uses for temporary users.
UIDS = range(61184, 65520)
IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); __import__(sys.argv[2])"


def resolve_here(host):
    """Let ``host`` resolve to this machine."""
    resolve = socket.getaddrinfo

    def resolve_name(name, *rest, **options):
        plain = name.decode() if isinstance(name, bytes) else name
        return resolve("127.0.0.1" if plain == host else name, *rest, **options)

    socket.getaddrinfo = resolve_name


def create_token(pyindex, project):
    """Create a token that can read a project; returns its name and its text. It expires if this
    process is killed before it can revoke it."""
    name = "verify-%d-%d" % (time.time(), os.getpid())
    options = ["--right", "read", "--project", project, "--expires", "1h"]
    return name, run_pyindex(pyindex, "create", name, *options)


def run_pyindex(pyindex, verb, *arguments):
    """Run `pyindex token` and return its output; exits with its errors if it fails."""
    command = [pyindex, "token", verb] + list(arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
    output, errors = process.communicate()
    if process.returncode:
        sys.exit("pyindex token %s: %s" % (verb, errors.decode("utf-8", "replace").strip()))
    return str(output.decode("ascii").strip())


def become_temporary_user(at_end):
    """Return in a child process whose user has no groups, home or files. This process waits for the
    child, ends all processes of that user, calls a function, and exits with the status of the
    child."""
    start = os.getpid() % len(UIDS)
    uid = next(uid for uid in list(UIDS[start:]) + list(UIDS[:start]) if not is_known(uid))
    child = os.fork()
    if child == 0:
        drop(uid)
        return
    status = os.waitpid(child, 0)[1]
    if os.fork() == 0:
        drop(uid)
        try:
            os.kill(-1, signal.SIGKILL)  # all processes of this user but itself
        finally:
            os._exit(0)
    os.wait()
    at_end()
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def is_known(uid):
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def drop(uid):
    os.chdir("/")
    os.umask(0o077)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def wait_for(url, ca, token, seconds, also=None):
    """Request the URL until it succeeds, or answers with the status ``also``. Exits with the last
    failure after that many seconds without progress: during the first scan, the answer counts the
    files."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except IOError as error:
        sys.exit("%s: %s" % (ca, error))
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    request = Request(url, headers={"Authorization": "Bearer " + token} if token else {})
    previous, deadline = None, time.time() + seconds
    while True:
        body = ""
        try:
            opener.open(request, timeout=30).read()
            return
        except HTTPError as error:
            if error.code == also:
                return
            body = error.read(2000).decode("utf-8", "replace").strip()
            answer = "%s %s" % (error, body)
        except (IOError, ValueError) as error:
            answer = str(error)
        if re.search('"status": *"starting"', body) and body != previous:
            previous, deadline = body, time.time() + seconds
        elif time.time() > deadline:
            sys.exit("%s: %s" % (url, answer.strip()))
        time.sleep(0.5)


def install(url, ca, token, pip, requirement, module, folder):
    """Install a requirement into an empty directory, and import the module from there. Wheels only:
    a build would run one more program."""
    target = os.path.join(folder, "target")
    requirements = write(folder, "requirements.txt", requirement + "\n")
    environment = {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "LC_ALL": "C"}
    environment["PIP_CONFIG_FILE"] = os.devnull
    host = urlsplit(url).hostname
    if token:  # on no command line, which other users could read
        write(folder, ".netrc", "machine %s login __token__ password %s\n" % (host, token))
    python = [sys.executable, "-E", "-s", "-c"]
    command = python + [SOURCE, "--pip", host, pip, "install", "--isolated", "--quiet"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--target", target]
    command += ["--only-binary", ":all:", "--index-url", url + "/simple/", "-r", requirements]
    command += ["--require-hashes"] if "--hash=" in requirement else []
    command += ["--no-python-version-warning"] if sys.version_info[0] == 2 else []
    command += ["--cert", ca] if ca else []
    command += ["--trusted-host", host] if url.startswith("http:") else []
    run(command, environment, "pip install %s" % requirement)
    run(python + [IMPORT, target, module], environment, "import %s" % module)


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def run(command, environment, what):
    """Run a command; exits with its output if it fails."""
    with tempfile.TemporaryFile() as log:  # a process in the background would keep a pipe open
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        process.wait()
        log.seek(0)
        output = log.read(100000).decode("utf-8", "replace").strip()
    if process.returncode:
        if "DO NOT MATCH THE HASHES" in output:
            output += "\nthe packages directory has another file of this name; delete it"
        sys.exit("%s: %s" % (what, output))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main(url, ca, pip, requirement, module, seconds, probe="", pyindex=""):
    global SOURCE  # for the process of pip, whose user cannot read this file
    SOURCE = read(__file__).decode("utf-8")
    url, seconds = url.rstrip("/"), int(seconds)
    if probe:
        version = os.path.basename(probe).split("-")[1]
        digest = hashlib.sha256(read(probe)).hexdigest()
        requirement += "==%s --hash=sha256:%s" % (version, digest)
    try:
        authority = read(ca) if ca else b""
    except IOError as error:
        sys.exit("%s: %s" % (ca, error))
    project = re.sub("[-_.]+", "-", re.match("[A-Za-z0-9._-]*", requirement).group()).lower()
    name, token = create_token(pyindex, project) if pyindex else ("", "")
    if os.geteuid() == 0:
        become_temporary_user(lambda: token and run_pyindex(pyindex, "revoke", name))
    folder = tempfile.mkdtemp(prefix="pyindex-verify-")
    try:
        ca = write(folder, "ca.pem", authority) if ca else ""
        resolve_here(urlsplit(url).hostname)
        # The spec may permit /health for other addresses only.
        wait_for(url + "/health", ca, token, seconds, also=403)
        wait_for("%s/simple/%s/" % (url, project), ca, token, seconds)
        install(url, ca, token, pip, requirement, module, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("%s is installed from %s" % (requirement, url))


if __name__ == "__main__" and sys.argv[1] == "--pip":
    resolve_here(sys.argv[2])
    sys.path.insert(0, sys.argv[3])
    sys.argv[:4] = ["pip"]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
elif __name__ == "__main__":
    main(*sys.argv[1:])
