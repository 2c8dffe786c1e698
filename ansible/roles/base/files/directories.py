"""Create directories of a host as root, for Python 2.7 and newer.

directories.py JSON NOTE: a list of {path, kind, owner, mode} in JSON. Prints a line for each
directory that was created or changed. Created directories of the kinds "state", "packages" and
"uploads" are appended to the file NOTE, one per line: only these may be removed with their
contents.

Directories of the kind "parent" are those into which root will write files: existing ones are left
unchanged.

root creates and changes entries only in directories where no other user may write: elsewhere,
another user could redirect root to a different path. There, the script acts as the owner of the
directory to be created. An existing directory with contents keeps its owner: packages stay as they
are, "uploads" are an error unless the owner can write there, and so is a state directory of another
user. Exits with a line for each error.
"""

import errno
import grp
import json
import os
import pwd
import stat
import subprocess
import sys

IGNORED = {"lost+found"}  # of an empty disk


class SharedDirectory(Exception):
    """A directory of the path in which other users may write; the text is its path."""


class DirectoryError(Exception):
    """A directory that cannot be provided, with the reason and what to do."""


def status_of(path):
    """The status of a path, None if nothing is there."""
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise DirectoryError("%s: %s" % (path, error.strerror))
        return None


def is_shared(status):
    """Whether users other than root may write to a directory."""
    return status.st_uid != 0 or status.st_mode & 0o022


def resolve(path):
    """The path without symbolic links; missing parents are created. Raises SharedDirectory."""
    names, directory, links = path.split("/"), "/", 0
    while names:
        name = names.pop(0)
        if name in ("", "."):
            continue
        if is_shared(status_of(directory)):
            raise SharedDirectory(directory)

        entry = os.path.join(directory, name)
        status = status_of(entry)
        if status is not None and stat.S_ISLNK(status.st_mode):
            links += 1
            if links > 40:
                raise DirectoryError("%s: more than 40 symbolic links; choose another path" % path)
            target = os.readlink(entry)
            directory = "/" if target.startswith("/") else directory
            names = target.split("/") + names
        elif name == "..":
            directory = os.path.dirname(directory)
        elif status is None and names:
            os.mkdir(entry)
            os.chmod(entry, 0o755)
            directory = entry
        elif names and not stat.S_ISDIR(status.st_mode):
            raise DirectoryError("%s: not a directory; choose another path" % entry)
        else:
            directory = entry
    return directory


def provide(path, kind, owner, mode):
    """Create or change a directory; returns "created", "changed" or None."""
    user = pwd.getpwnam(owner)
    expected = (user.pw_uid, grp.getgrnam(owner).gr_gid, mode)
    try:
        directory = resolve(path)
    except SharedDirectory as error:
        if kind == "parent":
            raise shared_error(path, str(error))
        return provide_as(user, path, kind, mode, str(error))

    status = status_of(directory)
    if status is None:
        os.mkdir(directory, 0o700)
    elif not stat.S_ISDIR(status.st_mode):
        raise DirectoryError("%s: not a directory; choose another path" % directory)
    elif kind == "parent":
        if is_shared(status):
            raise shared_error(path, directory)
        return None
    elif (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == expected:
        return None
    elif status.st_uid != user.pw_uid and kind != "system" and set(os.listdir(directory)) - IGNORED:
        return keep(user, directory, kind)

    os.chown(directory, expected[0], expected[1])
    os.chmod(directory, mode)
    return "created" if status is None else "changed"


def shared_error(path, directory):
    text = "%s: users other than root may write to %s; choose another path" % (path, directory)
    return DirectoryError(text)


def keep(user, path, kind):
    """Leave a directory of another user that has contents; an error unless it has packages."""
    if kind == "uploads" and not can_write(user, path):
        raise DirectoryError(
            "%s: %s cannot write there, and the index accepts uploads; run chown %s: %s, or give"
            " its group that right" % (path, user.pw_name, user.pw_name, path)
        )
    if kind == "state":
        raise DirectoryError(
            "%s: not empty, and not owned by %s; choose an empty or a new directory, or run"
            " chown -R %s: %s" % (path, user.pw_name, user.pw_name, path)
        )


def can_write(user, path):
    command = ["runuser", "-u", user.pw_name, "--", "test", "-w", path, "-a", "-x", path]
    return subprocess.call(command, cwd="/") == 0


def provide_as(user, path, kind, mode, shared):
    """Create a directory as its owner, unless it is there."""
    if os.path.isdir(path):
        return None if os.stat(path).st_uid == user.pw_uid else keep(user, path, kind)
    command = ["runuser", "-u", user.pw_name, "--", "mkdir", "-p", "-m", "%o" % mode, "--", path]
    process = subprocess.Popen(command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0].decode("utf-8", "replace").strip()
    if process.returncode:
        raise DirectoryError(
            "%s: users other than root may write to %s, and %s cannot create it (%s); create it"
            " with install -d -o %s -g %s -m %o %s"
            % (path, shared, user.pw_name, output, user.pw_name, user.pw_name, mode, path)
        )
    return "created"


def main(directories, note):
    errors = []
    for directory in json.loads(directories):
        path, kind = os.path.normpath(directory["path"]), directory["kind"]
        try:
            result = provide(path, kind, directory["owner"], int(directory["mode"], 8))
        except DirectoryError as error:
            errors.append(str(error))
            continue
        if result:
            print("%s %s" % (result, path))
        if result == "created" and kind in ("state", "packages", "uploads"):
            with open(note, "a") as file:
                file.write(path + "\n")
    if errors:
        sys.exit("\n".join(errors))


if __name__ == "__main__":
    main(*sys.argv[1:])
