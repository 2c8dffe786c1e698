"""The order of writes to the disk, on which a loss of power has no other effect than a kill."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Lab
from tests.dist import make_wheel
from tests.operations.test_watch import tmpfs
from tests.serving import PYINDEX

_CALLS = "rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,syncfs,pwrite64"
REMOVALS = (("remove", "foo==1.0"), ("status-set", "foo", "quarantined"))


@pytest.mark.parametrize("command", REMOVALS)
def test_removal_is_durable_before_it_is_recorded(
    strace: None, lab: Lab, command: Sequence[str]
) -> None:
    """Removed pages and markers are synced before the catalog says that they are published: what
    came back after a loss of power would not be removed again."""
    make_wheel(lab.packages, "foo", "1.0")
    make_wheel(lab.packages, "bar", "1.0")
    lab.once()
    spec, trace = lab.packages.parent / "pyindex.yml", lab.packages.parent / "trace"
    spec.write_text(f"state: {lab.spec.state}\nindexes: {{{lab.index}: {{packages: packages}}}}\n")
    traced = ("strace", "-f", "-y", "-o", trace, "-e", f"trace={_CALLS}")
    subprocess.run([*traced, PYINDEX, *command, "-c", spec], check=True)

    events = "".join(_event(line, lab.spec.www) for line in trace.read_text().splitlines())
    assert re.search("r[^w]*s[^rw]*w+[^r]*$", events), events


def _event(line: str, www: Path) -> str:
    """Return r for a removal of a marker or page, s for a sync, w for a write to the catalog."""
    if re.search(rf'(?:unlink|rename)\w*\([^"]*"{www}/(?:\.accepted|simple/foo)', line):
        return "r"
    if re.search(rf"syncfs\(\d+<{www}>", line):
        return "s"
    return "w" if re.search(r"pwrite64\(\d+<[^>]*catalog\.sqlite-wal>", line) else ""


def test_sync_of_many_paths_covers_each_file_system(strace: None, tmp_path: Path) -> None:
    """A sync of many paths reaches all file systems that they are on, also one that is mounted at a
    path itself."""
    mounted, trace = tmp_path / "mounted", tmp_path / "trace"
    mounted.mkdir()
    paths = [str(mounted), *(str(tmp_path / f"{number}") for number in range(20))]
    program = f"from appliance import atomic; atomic.sync_paths({paths!r})"
    traced = ("strace", "-f", "-y", "-o", trace, "-e", "trace=syncfs")
    with tmpfs(mounted):
        subprocess.run([*traced, sys.executable, "-c", program], check=True)
    synced = set(re.findall(r"syncfs\(\d+<([^>]*)>", trace.read_text()))
    assert synced == {str(mounted), str(tmp_path)}
