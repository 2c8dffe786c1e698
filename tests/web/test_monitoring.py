"""Health, readiness and metrics."""

import pytest
from falcon.testing import TestClient

from appliance.catalog.readiness import scan_mark
from appliance.operations.watchlock import watching
from appliance.web.app import create_app
from tests.conftest import Lab, scanned
from tests.dist import make_wheel
from tests.metrics import metrics


def test_health_lists_problems(lab: Lab) -> None:
    """Health answers 503 before the first publication, and later 200 with the problems."""
    client = TestClient(create_app(lab.spec))
    answer = client.simulate_get("/health")
    assert answer.status_code == 503
    assert "main: nothing published yet" in answer.json["problems"]

    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    with watching(lab.spec):
        answer = client.simulate_get("/health")
        assert (answer.status_code, answer.json) == (200, {"status": "ok", "problems": []})
        (lab.packages / "bad-1.0.zip").write_bytes(b"")
        lab.once()
        answer = client.simulate_get("/health")
        assert answer.status_code == 200
        assert answer.json["problems"] == ["1 file rejected; run `pyindex status`"]
    problems = client.simulate_get("/health").json["problems"]
    assert "no watcher is running; run `pyindex serve` or `pyindex watch`" in problems


def test_ready_waits_for_full_scan(lab: Lab) -> None:
    """Readiness answers 503 with the reason until every index was scanned and published."""
    client = TestClient(create_app(lab.spec))
    assert client.simulate_get("/ready").status_code == 503
    make_wheel(lab.packages, "foo", "1.0")
    lab.once()
    lab.catalog.set_mark(scan_mark(lab.spec, lab.index), 0)
    answer = client.simulate_get("/ready")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "main: packages directory never scanned completely" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    scanned(lab.spec)
    answer = client.simulate_get("/ready")
    assert (answer.status_code, answer.text) == (200, "ready\n")


def test_metrics_match_catalog(client: TestClient, lab: Lab) -> None:
    """Metrics have the values of the catalog in Prometheus' text format, each after its type."""
    scanned(lab.spec)
    (lab.packages / "flask-0.1.zip").write_bytes(b"")
    lab.once()
    answer = client.simulate_get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = metrics(answer.text)
    with lab.catalog.read() as reading:
        serial = reading.serial()
        size = sum(file.size for file in reading.files_after(lab.index))
    requests = {f'pyindex_requests_total{{status="{kind}xx"}}': 0 for kind in range(1, 6)}
    assert values == requests | {
        'pyindex_projects{index="main"}': 4,
        'pyindex_files{index="main"}': 6,
        'pyindex_bytes{index="main"}': size,
        'pyindex_rejected_files{index="main"}': 1,
        'pyindex_scanned{index="main"}': 1,
        "pyindex_serial": serial,
        "pyindex_published_serial": serial,
        "pyindex_publish_lag_seconds": 0,
        "pyindex_watcher_running": 0,
        "pyindex_problems": 1,  # no watcher
    }


def test_metrics_count_requests(client: TestClient) -> None:
    """Requests are counted by the status of their answers, those of errors too."""
    for path in ("/simple/flask/", "/simple/flask/", "/simple/nothing-here/", "/simple/Flask/"):
        client.simulate_get(path)
    values = metrics(client.simulate_get("/metrics").text)
    counted = [values[f'pyindex_requests_total{{status="{kind}xx"}}'] for kind in range(1, 6)]
    assert sum(counted) == 4
    assert counted[0] == counted[4] == 0
    assert all(counted[1:4])


def test_metrics_show_unpublished_changes(client: TestClient, lab: Lab) -> None:
    """The age of the oldest change that is not published is above 0 until it is."""
    with lab.catalog.change() as writer:
        writer.set_status(lab.index, "flask", "archived", None)
    assert metrics(client.simulate_get("/metrics").text)["pyindex_publish_lag_seconds"] > 0
    lab.once()
    assert metrics(client.simulate_get("/metrics").text)["pyindex_publish_lag_seconds"] == 0


def test_damaged_catalog_does_not_stop_pages(
    client: TestClient, lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """The server with a damaged catalog serves pages, and its log names the remedy."""
    for part in lab.spec.state.glob("catalog.sqlite*"):
        part.unlink()
    lab.spec.catalog.write_bytes(b"no database" * 1000)
    answer = client.simulate_get("/pypi/flask/json")
    assert answer.status_code == 503
    assert "the log says why" in answer.text
    assert str(lab.spec.state) not in answer.text
    assert "pyindex rebuild" in caplog.text
    assert client.simulate_get("/simple/flask/").status_code == 200
    assert client.simulate_get("/health").json["status"] == "degraded"
