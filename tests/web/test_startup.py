"""What a server prints while it starts."""

from pathlib import Path

from appliance.catalog.readiness import scan_mark
from appliance.web.startup import StartupLog
from tests.conftest import Lab
from tests.dist import make_wheel


def test_startup_log_reports_ready_once(tmp_path: Path) -> None:
    """The startup log prints counts during the scan and the ready line once after it."""
    lab = Lab(tmp_path)
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    mark = scan_mark(lab.spec, lab.index)
    lab.catalog.set_mark(mark, 0)
    lines: list[str] = []
    startup = StartupLog(lab.spec, "http://x")
    for value in (0, 0, 1, 1):
        lab.catalog.set_mark(mark, value)
        startup.report(lines.append)
    assert lines == [
        "pyindex: scanning main: 1 file so far",
        "pyindex: ready; try `pip install --index-url http://x/simple/ NAME`",
    ]
