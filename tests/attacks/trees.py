"""Trees that users, programs and attackers may leave in a packages directory."""

import gzip
import os
import shutil
import socket
import stat
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.dist import make_wheel

WHEEL = "-1.0-py2.py3-none-any.whl"
OTHER_USER = 1234  # another user
Do = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Tree:
    """Tree to create in a packages directory.

    Attributes:
        do: Creates it, given the packages directory and one outside with secret files.
        refused: A part of the reason for each rejected file, by path.
        served: Paths of files that are accepted.
        root: Whether only root can create it.
    """

    name: str
    do: Do
    refused: Mapping[str, str] = field(default_factory=dict)
    served: tuple[str, ...] = ()
    root: bool = False


@dataclass(frozen=True)
class Swap:
    """Replacement of an accepted file; ``gone`` if its page does not list it afterwards."""

    name: str
    do: Do
    gone: bool = True
    root: bool = False


# --- trees ---------------------------------------------------------------------------------------


def _dig(top: Path, names: list[str], project: str) -> None:
    """Write a wheel below directories whose path may exceed the limit of system calls."""
    above = os.open(top, os.O_PATH | os.O_DIRECTORY)
    for name in names:
        os.mkdir(name, dir_fd=above)
        below = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=above)
        os.close(above)
        above = below
    wheel = make_wheel(top.parent, project, "1.0")
    content = wheel.read_bytes()
    wheel.unlink()
    flags = os.O_WRONLY | os.O_CREAT
    with open(os.open(wheel.name, flags, 0o644, dir_fd=above), "wb") as file:  # noqa: PTH123
        file.write(content)
    os.close(above)


def nested(packages: Path, outside: Path) -> None:
    _dig(packages, ["d"] * 600, "nested")


def longest_path(packages: Path, outside: Path) -> None:
    """Use the maximum length of a path, so that the published path is longer."""
    room = os.pathconf(packages, "PC_PATH_MAX") - len(os.fsencode(packages)) - len("long" + WHEEL)
    names = ["x" * 200] * ((room - 3) // 201)
    _dig(packages, [*names, "y" * (room - 3 - 201 * len(names))], "long")


def too_long_path(packages: Path, outside: Path) -> None:
    _dig(packages, ["z" * 250] * 40, "toolong")


def longest_name(packages: Path, outside: Path) -> None:
    """Leave no room for the suffix that pyindex appends to a name."""
    for length in (255, 250, 246):
        make_wheel(packages, "n" * (length - len(WHEEL)), "1.0")


def longest_directories(packages: Path, outside: Path) -> None:
    directory = packages / ("m" * 255) / ("é" * 127)
    directory.mkdir(parents=True)
    make_wheel(directory, "indirs", "1.0")


def unreadable_directory(packages: Path, outside: Path) -> None:
    _shut(packages, 0o000)


def listless_directory(packages: Path, outside: Path) -> None:
    """Create a directory of mode 644: its names can be read, its files cannot."""
    _shut(packages, 0o644)


def nameless_directory(packages: Path, outside: Path) -> None:
    """Create a directory of mode 711: its files can be read, its names cannot."""
    _shut(packages, 0o711)


def _shut(packages: Path, mode: int) -> None:
    directory = packages / f"mode{mode:o}"
    (directory / "below").mkdir(parents=True)
    make_wheel(directory, f"shut{mode:o}", "1.0")
    make_wheel(directory / "below", f"below{mode:o}", "1.0")
    os.chown(directory, OTHER_USER, OTHER_USER)
    directory.chmod(mode)


def unreadable_file(packages: Path, outside: Path) -> None:
    path = make_wheel(packages, "unreadable", "1.0")
    os.chown(path, OTHER_USER, OTHER_USER)
    path.chmod(0o000)


def fifo(packages: Path, outside: Path) -> None:
    os.mkfifo(packages / f"fifo{WHEEL}")
    os.mkfifo(packages / "pipe-1.0.tar.gz")


def unix_socket(packages: Path, outside: Path) -> None:
    here = Path.cwd()
    os.chdir(packages)  # a socket's path has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"socket{WHEEL}")
    finally:
        os.chdir(here)


def devices(packages: Path, outside: Path) -> None:
    os.mknod(packages / f"zero{WHEEL}", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(packages / "full-1.0.tar.gz", stat.S_IFCHR | 0o666, os.makedev(1, 7))
    os.mknod(packages / "disk-1.0.zip", stat.S_IFBLK | 0o666, os.makedev(7, 99))


def loops(packages: Path, outside: Path) -> None:
    (packages / f"loop{WHEEL}").symlink_to(f"pool{WHEEL}")
    (packages / f"pool{WHEEL}").symlink_to(f"loop{WHEEL}")
    (packages / "round").mkdir()
    (packages / "round" / "about").symlink_to(packages / "round")
    (packages / "round" / "up").symlink_to("..")


def links_out(packages: Path, outside: Path) -> None:
    secret = outside / f"secret{WHEEL}"
    (packages / f"absolute{WHEEL}").symlink_to(secret)
    (packages / f"secret{WHEEL}").symlink_to(secret)
    (packages / "sub").mkdir()
    (packages / "sub" / f"secret{WHEEL}").symlink_to(f"../../secret{WHEEL}")
    (packages / f"chain{WHEEL}").symlink_to(f"secret{WHEEL}")
    (packages / f"proc{WHEEL}").symlink_to("/proc/self/environ")
    (packages / "out").symlink_to(outside)
    (packages / f"through{WHEEL}").symlink_to(f"out/secret{WHEEL}")
    (packages / "etc").symlink_to("/etc")


def links_up(packages: Path, outside: Path) -> None:
    """Link to directories of the same tree."""
    made = outside.parent / "made"
    (made / "2024").mkdir(parents=True)
    (made / "up").symlink_to("..")
    (made / "latest").symlink_to("2024")
    make_wheel(made / "2024", "inyear", "1.0")
    made.rename(packages / "years")


def link_to_all(packages: Path, outside: Path) -> None:
    """Link to the root directory."""
    made = outside.parent / "made"
    made.mkdir()
    (made / "root").symlink_to("/")
    made.rename(packages / "all")


def links_in(packages: Path, outside: Path) -> None:
    (packages / "kept").mkdir()
    (packages / f"inner{WHEEL}").symlink_to(f"kept/inner{WHEEL}")
    make_wheel(packages / "kept", "other", "1.0")
    (packages / f"nowhere{WHEEL}").symlink_to("nothing")


def directory_as_wheel(packages: Path, outside: Path) -> None:
    (packages / f"folder{WHEEL}").mkdir()
    make_wheel(packages / f"folder{WHEEL}", "inner", "1.0")


def odd_names(packages: Path, outside: Path) -> None:
    """Use names of directories and files that logs, pages and URLs cannot contain unescaped."""
    for name in (
        b"new\nline",
        b"caf\xe9",
        b"\x1b[31mred",
        b"\xff\xfe",
        b"del\x7f",
        b"\xed\xa0\x80",
    ):
        directory = packages / os.fsdecode(name)
        directory.mkdir()
        make_wheel(directory, "hidden", "1.0")
        directory.with_name(directory.name + WHEEL).write_bytes(b"half")


NAMES = (
    "👩\u200d🔬 lab", "a b", "%2e%2e", "a%2f..", "a&b=c?d#e", '"><script>', "-rf", "~",
    "$(id)", "\u202ertl", "\u00e9", "e\u0301", "simple", "packages", "index.html", "x;y",
    "a:b",
)  # fmt: skip


def names_to_escape(packages: Path, outside: Path) -> None:
    """Use names of directories that a URL or a page must escape."""
    for number, name in enumerate(NAMES):
        (packages / name).mkdir()
        make_wheel(packages / name, f"escaped{number}", "1.0")


def backslash(packages: Path, outside: Path) -> None:
    (packages / "back\\slash").mkdir()
    make_wheel(packages / "back\\slash", "slash", "1.0")


def many_empty(packages: Path, outside: Path) -> None:
    (packages / "many").mkdir()
    for number in range(10_000):
        (packages / "many" / f"e{number}{WHEEL}").touch()


def many_directories(packages: Path, outside: Path) -> None:
    for number in range(2_000):
        (packages / "wide" / str(number)).mkdir(parents=True)


def junk(packages: Path, outside: Path) -> None:
    """Write files that systems and programs leave behind."""
    for name in ("lost+found", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"):
        (packages / name).mkdir()
        (packages / name / "desktop.ini").touch()
    (packages / "lost+found").chmod(0o700)
    os.chown(packages / "lost+found", OTHER_USER, OTHER_USER)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", f"._old{WHEEL}", "index.html", "README"):
        (packages / name).write_text("junk")
    for name in (".part", ".crdownload", ".aria2", ".filepart", ".tmp", "~", ".bak", ".download"):
        (packages / f"partial{WHEEL}{name}").write_text("half")


def sparse(packages: Path, outside: Path) -> None:
    """Write a file of 1 TiB without blocks."""
    with (packages / f"sparse{WHEEL}").open("wb") as file:
        file.truncate(1 << 40)


def wide_and_renamed(packages: Path, outside: Path) -> None:
    """Rename a directory of files repeatedly while it is scanned."""
    directory = packages / "turn0"
    directory.mkdir()
    for number in range(50):
        make_wheel(directory, f"turned{number}", "1.0")
    for turn in range(1, 20):
        directory = directory.rename(packages / f"turn{turn}")


TREES = [
    Tree("600 nested directories", nested),
    Tree("the longest path", longest_path),
    Tree("a path longer than the limit", too_long_path),
    Tree("the longest name", longest_name),
    Tree("the longest names of directories", longest_directories, served=(
        f"{'m' * 255}/{'é' * 127}/indirs{WHEEL}",
    )),
    Tree("an unreadable directory", unreadable_directory, {"mode0/": "cannot be read"}, root=True),
    Tree("a directory of mode 644", listless_directory, root=True),
    Tree("a directory of mode 711", nameless_directory, {"mode711/": "cannot be read"}, root=True),
    Tree("an unreadable file", unreadable_file, {f"unreadable{WHEEL}": "Permission"}, root=True),
    Tree("a FIFO", fifo, {f"fifo{WHEEL}": "not a regular", "pipe-1.0.tar.gz": "not a regular"}),
    Tree("a socket", unix_socket, {f"socket{WHEEL}": "not a regular file"}),
    Tree("devices", devices, {f"zero{WHEEL}": "not a", "full-1.0.tar.gz": "not a",
                              "disk-1.0.zip": "not a"}, root=True),
    Tree("loops of links", loops, {f"loop{WHEEL}": "link", f"pool{WHEEL}": "link"}),
    Tree("links to the outside", links_out, {f"absolute{WHEEL}": "leads out",
         f"sub/secret{WHEEL}": "leads out", f"chain{WHEEL}": "leads out", f"proc{WHEEL}": "l"}),
    Tree("a link to the directory above", links_up, {"years/up": "to a directory",
         "years/latest": "to a directory"}, (f"years/2024/inyear{WHEEL}",)),
    Tree("a link to the whole system", link_to_all, {"all/root": "leads out"}),
    Tree("links to the inside", links_in, {f"nowhere{WHEEL}": "broken"},
         (f"kept/other{WHEEL}",)),
    Tree("a directory named like a wheel", directory_as_wheel, {f"folder{WHEEL}": "directory"}),
    Tree("names to escape in logs", odd_names),
    Tree("names to escape in URLs", names_to_escape,
         served=tuple(f"{n}/escaped{i}{WHEEL}" for i, n in enumerate(NAMES))),
    Tree("a backslash in a name", backslash, {"back\\slash": "a backslash"}),
    Tree("10,000 empty files", many_empty),
    Tree("2,000 directories", many_directories),
    Tree("junk", junk),
    Tree("a sparse file of 1 TiB", sparse, {f"sparse{WHEEL}": "sparse file"}),
    Tree("a renamed directory", wide_and_renamed, served=(f"turn19/turned7{WHEEL}",)),
]  # fmt: skip


# --- single files --------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """File that is rejected with a reason that contains ``reason``."""

    name: str
    reason: str
    filename: str
    content: Callable[[], bytes]

    def write(self, directory: Path) -> Path:
        path = directory / self.filename
        path.write_bytes(self.content())
        return path


def _gnu_sparse() -> bytes:
    """Return a header of a sparse member whose map is not a number."""
    header = bytearray(tarfile.TarInfo("foo-1.0/x").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"x" * 24
    header[482:483] = b"\1"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return gzip.compress(bytes(header[:512]))


def _half_a_wheel() -> bytes:
    with TemporaryDirectory() as directory:
        content = make_wheel(Path(directory), "half", "1.0").read_bytes()
    return content[: len(content) // 2]


FILES = [
    File("a sparse tar header", "", "sparse-1.0.tar.gz", _gnu_sparse),
    File("half a wheel", "damaged", f"half{WHEEL}", _half_a_wheel),
    File("noise", "damaged", f"noise{WHEEL}", lambda: bytes(range(256)) * 99),
    File("an empty file", "damaged", f"empty{WHEEL}", bytes),
]


# --- replacements of an accepted file ------------------------------------------------------------


def _instead(make: Do) -> Do:
    """Return a function that replaces a file by what ``make`` creates, with one rename."""

    def swap(victim: Path, outside: Path) -> None:
        made = outside.parent / "made"
        make(made, outside)
        if made.is_dir() and not made.is_symlink():
            victim.unlink()
        made.rename(victim)

    return swap


def _swap_directory(victim: Path, outside: Path) -> None:
    """Replace the directory of the file by a link to one outside with a file of the same name."""
    shutil.copy2(outside / f"secret{WHEEL}", outside / victim.name)
    victim.unlink()
    victim.parent.rmdir()
    victim.parent.symlink_to(outside)


def _overwrite(victim: Path, outside: Path) -> None:
    victim.write_bytes(b"no archive at all")


def _lock(victim: Path, outside: Path) -> None:
    os.chown(victim, OTHER_USER, OTHER_USER)
    victim.chmod(0)


SWAPS = [
    Swap("a FIFO", _instead(lambda made, outside: os.mkfifo(made))),
    Swap("a link to a secret", _instead(lambda m, o: m.symlink_to(o / "secret.txt"))),
    Swap("a link to another package", _instead(lambda m, o: m.symlink_to(o / f"secret{WHEEL}"))),
    Swap("a link to a directory", _instead(lambda made, outside: made.symlink_to(outside))),
    Swap("a link to nowhere", _instead(lambda made, outside: made.symlink_to("nowhere"))),
    Swap("a link to itself", _instead(lambda m, o: m.symlink_to(f"victim{WHEEL}"))),
    Swap("a directory", _instead(lambda made, outside: made.mkdir())),
    Swap("an empty file", _instead(lambda made, outside: made.touch())),
    Swap("other bytes", _overwrite),
    Swap("nothing", lambda victim, outside: victim.unlink()),
    Swap("an unreadable file", _lock, gone=False, root=True),
    Swap("a link at the path of its directory", _swap_directory),
]
