"""Directories of a host, made by root, for Python 2.7 and newer.

directories.py JSON NOTE: a list of {path, kind, owner, mode} in JSON. Says for each what was done,
if something was. Those that it made of the kinds "state" and "packages" are added to the file NOTE,
a line each: only they may be removed with all that is in them.

Of the kind "above" are those that root will write files into: they are left as they are.

root makes and changes something in directories where only root writes: anywhere else somebody could
lead it to another place. There it acts as the owner to be. What is there already and has something
in it is given to nobody: packages stay whose they are, and a state needs a directory of its own.
Exits with a line for each that cannot be had.
"""

import errno
import grp
import json
import os
import pwd
import stat
import subprocess
import sys

FRESH = {"lost+found"}  # of an empty disk


class Astray(Exception):
    """A directory in which others write stands on the way."""


class Wrong(Exception):
    """It cannot be had; the text says why."""


def look(path):
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise Wrong("%s: %s" % (path, error.strerror))
        return None


def above(path):
    """The path with the links on the way followed, its parents made. Raises Astray."""
    left, place, links = path.split("/"), "/", 0
    while left:
        name = left.pop(0)
        if name in ("", "."):
            continue
        found = look(place)
        if found.st_uid != 0 or found.st_mode & 0o022:
            raise Astray(place)
        entry = os.path.join(place, name)
        found = look(entry)
        if found is not None and stat.S_ISLNK(found.st_mode):
            links += 1
            if links > 40:
                raise Wrong("%s: too many links" % path)
            target = os.readlink(entry)
            place = "/" if target.startswith("/") else place
            left = target.split("/") + left
        elif name == "..":
            place = os.path.dirname(place)
        elif found is None and left:
            os.mkdir(entry)
            os.chmod(entry, 0o755)
            place = entry
        elif left and not stat.S_ISDIR(found.st_mode):
            raise Wrong("%s: is no directory" % entry)
        else:
            place = entry
    return place


def provide(path, kind, owner, mode):
    """Returns what was done: "made", "changed" or nothing."""
    user = pwd.getpwnam(owner)
    wanted = (user.pw_uid, grp.getgrnam(owner).gr_gid, mode)
    try:
        place = above(path)
    except Astray as error:
        if kind == "above":
            raise Wrong("%s: others than root write to %s; say a path elsewhere" % (path, error))
        return provide_as(user, path, kind, mode, str(error))
    found = look(place)
    if found is None:
        os.mkdir(place, 0o700)
    elif not stat.S_ISDIR(found.st_mode):
        raise Wrong("%s: is no directory" % place)
    elif kind == "above":
        if found.st_uid != 0 or found.st_mode & 0o022:
            raise Wrong("%s: others than root write to it; say a path elsewhere" % place)
        return None
    elif (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == wanted:
        return None
    elif found.st_uid != user.pw_uid and kind != "system" and set(os.listdir(place)) - FRESH:
        return leave(user, place, kind)
    os.chown(place, wanted[0], wanted[1])
    os.chmod(place, mode)
    return "made" if found is None else "changed"


def leave(user, path, kind):
    """What to do about a directory of somebody else's with something in it: nothing."""
    if kind != "packages":
        raise Wrong(
            "%s: is there with something in it, and not of %s; say another directory, new or empty,"
            " or give this one away: chown -R %s: %s" % ((path,) + 2 * (user.pw_name,) + (path,))
        )


def provide_as(user, path, kind, mode, astray):
    """The directory made by its owner, if he may, and unless it is there."""
    if os.path.isdir(path):
        return None if os.stat(path).st_uid == user.pw_uid else leave(user, path, kind)
    make = ["mkdir", "-p", "-m", "%o" % mode, "--", path]
    done = subprocess.Popen(
        ["runuser", "-u", user.pw_name, "--"] + make,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    words = done.communicate()[0].decode("utf-8", "replace").strip()
    if done.returncode:
        raise Wrong(
            "%s: others than root write to %s, so root makes nothing there, and %s cannot (%s);"
            " make it: install -d -o %s -g %s -m %o %s"
            % (path, astray, user.pw_name, words, user.pw_name, user.pw_name, mode, path)
        )
    return "made"


def main(wanted, note):
    problems = []
    for one in json.loads(wanted):
        path = os.path.normpath(one["path"])
        try:
            done = provide(path, one["kind"], one["owner"], int(one["mode"], 8))
        except Wrong as error:
            problems.append(str(error))
            continue
        if done:
            print("%s %s" % (done, path))
        if done == "made" and one["kind"] in ("state", "packages"):
            with open(note, "a") as file:
                file.write(path + "\n")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main(*sys.argv[1:])
