"""Check whether the host has OS packages or can get them, for Python 2.7 and newer.

candidates.py JSON prints a JSON object: "missing", the names of packages that the host lacks, and
"problems", a list of lines. It installs nothing. The request:

- packages: a list of {name, file}; with "selinux": true, only where SELinux is enabled
- supplied: {directory, names}, packages that the control machine copies; repositories are not asked
- repositories: {kind: "deb" or "rpm", yum: a list of {name, baseurl, gpgkey}, unused: file names}
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

# Of yum, about one of several packages.
REFUSED = "(No package .* available|Package .* is not signed)"


def missing_packages(packages):
    is_enabled = os.path.exists("/sys/fs/selinux/enforce")
    needed = [each for each in packages if is_enabled or not each.get("selinux")]
    return [each["name"] for each in needed if not os.path.exists(each["file"])]


def unsupplied(missing, directory, names):
    text = (
        "%s: missing on the host, and not in %s, the packages of the pack; build the pack with it"
    )
    return [text % (name, directory) for name in missing if name not in names]


def unobtainable(missing, repositories):
    folder = tempfile.mkdtemp(prefix="pyindex-candidates-")
    try:
        code, output = download(missing, repositories, folder)
        files = os.listdir(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # yum exits with 0 then, too. Packages of a file:// repository are not copied to the folder.
    if code == 0 and not re.search("(?m)^" + REFUSED, output):
        return []
    lacking = [name for name in missing if not any(is_of(file, name) for file in files)]
    return [lacking_error(lacking or missing, repositories["kind"], output)]


def is_of(file, package):
    """Whether a file name is one of a package: NAME_1.0_amd64.deb or NAME-1.0-1.x86_64.rpm."""
    return re.match(re.escape(package) + r"(_|-[0-9]).*[.](deb|rpm)$", file) is not None


def lacking_error(names, kind, output):
    program = "apt-get" if kind == "deb" else "yum"
    other = "" if kind == "deb" else ", or set pyindex_yum_repos"
    first = "E: |Error: |" + REFUSED + "| .* : Depends: |.*\\[Errno |Cannot find a valid baseurl "
    lines = output.strip().splitlines() or ["no output"]
    reasons = [line.strip() for line in lines if re.match(first, line)]
    reason = re.sub("^(E|Error): ", "", (reasons or lines[-1:])[0])
    text = (
        "%s: missing on the host, and %s cannot fetch %s: %s; repair its repositories%s, or name"
        " some in host.repositories of the spec"
    )
    pronoun = "it" if len(names) == 1 else "them"
    return text % (", ".join(names), program, pronoun, reason, other)


def download(names, repositories, folder):
    """Have the package manager fetch packages, with what they need, into a folder that is then
    deleted: only this shows that its repositories answer. Returns exit code and output."""
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
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    process = subprocess.Popen(
        command + names, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.communicate()[0].decode("utf-8", "replace")
    return process.returncode, output


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


def main(text):
    request = json.loads(text)
    missing, problems = missing_packages(request["packages"]), []
    try:
        if request["supplied"]:
            problems = unsupplied(missing, **request["supplied"])
        elif missing:
            problems = unobtainable(missing, request["repositories"])
    except EnvironmentError as error:
        problems = ["%s: %s" % (error.filename or "OS packages", error.strerror)]
    print(json.dumps({"missing": missing, "problems": problems}))


if __name__ == "__main__":
    main(*sys.argv[1:])
