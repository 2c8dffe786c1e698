"""A clean client of the index, for Python 2.7 and newer: install a package, and import it.

client.py URL CA PIP REQUIREMENT MODULE SECONDS: URL of the index without /simple/, CA file or "",
the wheel of a pip. The URL's host is this machine, whatever DNS says; TLS is verified all the same.
Exits with one line that says what failed.
"""

import os
import re
import runpy
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

try:
    from urllib.parse import urlsplit
    from urllib.request import HTTPSHandler, ProxyHandler, build_opener
except ImportError:
    from urllib2 import HTTPSHandler, ProxyHandler, build_opener
    from urlparse import urlsplit


def at_home(host):
    """Let names resolve as they do, but for ``host``, which is here."""
    resolve = socket.getaddrinfo

    def here(name, *rest, **options):
        plain = name.decode() if isinstance(name, bytes) else name
        return resolve("127.0.0.1" if plain == host else name, *rest, **options)

    socket.getaddrinfo = here


def wait_for(url, ca, seconds):
    """Ask until the answer is good. Exits with the last bad one after that many seconds."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except IOError as error:
        sys.exit("%s: %s" % (ca, error))
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    deadline = time.time() + seconds
    while True:
        try:
            opener.open(url, timeout=10).read()
            return
        except (IOError, ValueError) as error:
            if time.time() > deadline:
                sys.exit("%s: %s" % (url, error))
        time.sleep(0.5)


def install(url, ca, pip, requirement, module):
    """Into a directory of its own, and imported from there."""
    target = tempfile.mkdtemp(prefix="pyindex-verify-")
    environment = {"PATH": os.environ["PATH"], "HOME": target, "LC_ALL": "C", "PYTHONPATH": target}
    host = urlsplit(url).hostname
    command = [sys.executable, __file__, "--pip", host, pip, "install", "--isolated", "--quiet"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--target", target]
    command += ["--index-url", url + "/simple/"]
    command += ["--no-python-version-warning"] if sys.version_info[0] == 2 else []
    command += ["--cert", ca] if ca else []
    command += ["--trusted-host", host] if url.startswith("http:") else []
    try:
        run(command + [requirement], environment, "pip install %s" % requirement)
        run([sys.executable, "-c", "import %s" % module], environment, "import %s" % module)
    finally:
        shutil.rmtree(target)


def run(command, environment, what):
    """Exits with what the command says if it fails."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode:
        sys.exit("%s: %s" % (what, output.strip()))


def main(url, ca, pip, requirement, module, seconds):
    url = url.rstrip("/")
    at_home(urlsplit(url).hostname)
    wait_for(url + "/health", ca, int(seconds))
    project = re.sub("[-_.]+", "-", re.match("[A-Za-z0-9._-]*", requirement).group()).lower()
    wait_for("%s/simple/%s/" % (url, project), ca, int(seconds))
    install(url, ca, pip, requirement, module)
    print("%s is installed from %s" % (requirement, url))


if __name__ == "__main__" and sys.argv[1] == "--pip":
    at_home(sys.argv[2])
    sys.path.insert(0, sys.argv[3])
    sys.argv[:4] = ["pip"]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
elif __name__ == "__main__":
    main(*sys.argv[1:])
