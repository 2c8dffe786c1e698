"""docs/concepts/years.md compared with the code: what grows, what bounds it, what reports it.

``python -m tests.test_growth`` writes the tables.
"""

import re
import tempfile
from datetime import timedelta
from pathlib import Path

import yaml

from appliance.mirror import taking
from appliance.operations import certificates, housekeeping, prune
from appliance.operations.health import _REQUIRED_MB
from appliance.pack import authority, x509
from appliance.render import files
from appliance.spec import Backup, Keep
from appliance.upstream import cache
from tests.render.specs import SPECS, load

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "concepts" / "years.md"
BLOCK = re.compile("(?<=<!-- bounds -->\n).*?(?=<!-- end of bounds -->)", re.S)
DEFAULTS = yaml.safe_load((ROOT / "ansible/roles/pyindex/defaults/main.yml").read_text())


def days(value: timedelta | float) -> str:
    """A duration of code, given as such or in seconds, as the page has it."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    number = round(seconds / 86_400)
    return f"{number} day{'' if number == 1 else 's'}"


def rendered() -> dict[str, str]:
    """The files of all hosts that tests know, by path."""
    texts: dict[str, str] = {}
    for name in SPECS:
        with tempfile.TemporaryDirectory() as directory:
            texts |= {file.path: file.content for file in files(load(name, Path(directory)))}
    return texts


def setting(text: str, pattern: str) -> str:
    """What a rendered file has in one place."""
    (found,) = set(re.findall(pattern, text, re.M))
    return str(found)


def growing() -> list[tuple[str, str, str]]:
    """Data that grows, its bound and what applies it."""
    keep, texts = Keep(), rendered()
    logs = setting(texts["/etc/logrotate.d/pyindex"], r"^    rotate (\d+)$")
    programs = texts["/etc/supervisor/conf.d/pyindex.conf"]
    size = setting(programs, r"^stdout_logfile_maxbytes=(\d+MB)$")
    older = setting(programs, r"^stdout_logfile_backups=(\d+)$")
    gc, releases = "`pyindex gc`, daily", DEFAULTS["pyindex_keep_releases"]
    return [
        ("backups of the catalog", f"{Backup().keep} (`backup.keep`)", "`pyindex backup`, daily"),
        ("removed files in the trash", f"{days(keep.trash)} (`keep.trash`)", gc),
        ("replaced catalogs", f"{days(keep.catalogs)} (`keep.catalogs`)", gc),
        ("journal", f"{days(keep.journal)} (`keep.journal`)", gc),
        ("unfinished files of killed commands", days(prune._UNFINISHED_AGE), gc),
        ("samples of free disk space", str(housekeeping._SAMPLES), gc),
        ("partial downloads", days(taking._UNFINISHED_SECONDS), "`pyindex mirror`"),
        ("`upstream-cache`", f"{days(cache._KEEP_SECONDS)} without use", "`pyindex mirror`"),
        ("access and error log of nginx", f"{logs} days", "logrotate, daily"),
        ("logs of the services", "10 % of the disk, 4 GB at most", "journald"),
        ("the same under supervisor", f"{size}, and {older} older files each", "supervisor"),
        ("releases, and their Pythons", f"{releases} (`pyindex_keep_releases`)", "each play"),
        ("decision log", "one line for each decision", "none: it is never pruned"),
        ("`receipts`, `bundles`", "one file for each load or bundle", "none"),
        ("package files", "what you put there", "you, or `pyindex remove`"),
    ]


def reported() -> list[tuple[str, str, str]]:
    """What needs an operator, what does it without one, and when health reports it."""
    return [
        (
            "certificate of a host",
            f"made for {x509._HOST_DAYS} days, renewed by the timer {authority.RENEW_DAYS} days"
            " before its end",
            f"less than {days(certificates._NOTICE)} left",
        ),
        (
            "certificate of a CA (`nginx.tls.ca`)",
            f"made for {x509._CA_DAYS} days; `pyindex certificates extend`, then clients need the"
            " new one",
            f"less than {days(certificates._CA_NOTICE)} left",
        ),
        (
            "disk",
            "the bounds above",
            f"full within {housekeeping._NOTICE_DAYS} days at the pace of the past"
            f" {housekeeping._LEAST_DAYS} to {housekeeping._SAMPLES} days, or less than"
            f" {_REQUIRED_MB} MB free",
        ),
        (
            "`pyindex backup`, `pyindex gc`",
            "a systemd timer, or cron under supervisor",
            f"no success for {housekeeping._OVERDUE_DAYS} days",
        ),
        ("keys that sign bundles (minisign)", "do not expire", "never"),
    ]


def tables() -> str:
    """The two tables of the page."""
    lines = ["", "| data | bound | applied by |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in growing()]
    lines += ["", "| what | without an operator | reported by `/health` and `status` |"]
    lines += ["| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in reported())]
    return "\n".join([*lines, "", ""])


def test_page_has_the_bounds_of_the_code() -> None:
    """The page has the numbers of the code, of the rendered files and of the playbook."""
    (written,) = BLOCK.findall(PAGE.read_text())
    assert written == tables(), "run: python -m tests.test_growth"


def test_daily_jobs_are_the_same_under_both_managers() -> None:
    """The timer's service and cron run the same commands."""
    texts = rendered()
    unit, cron = texts["/etc/systemd/system/pyindex-backup.service"], texts["/etc/cron.d/pyindex"]
    command = r"/opt/pyindex/current/bin/pyindex (\w+)"
    by_timer = re.findall(rf"^Exec\w+={command}$", unit, re.M)
    assert by_timer == re.findall(rf"^[\d* ]+pyindex {command} >/dev/null$", cron, re.M)
    assert by_timer == ["backup", "gc"]


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: tables(), PAGE.read_text()))
