"""Parts of the benchmarks: corpora, parsers, reports, servers; no measurement."""

import http.client
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

from appliance import spec
from appliance.operations.update import update
from benchmarks import collecting, corpus, servers, tools
from benchmarks.collectors import Matrix
from benchmarks.load import LoadError, Sample, Target, parse, ratio
from benchmarks.ports import HOST, free_port
from benchmarks.report import Figure, Goal, Report, growth, number
from tests.dist import make_wheel

WRK = """\
Running 2s test @ http://127.0.0.1:46033/simple/project-00000/
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   382.42us  675.59us  17.90ms   92.54%
    Req/Sec    62.12k     5.21k   71.20k    70.00%
  Latency Distribution
     50%  211.00us
     75%  324.00us
     90%  0.91ms
     99%    3.05ms
  247391 requests in 2.02s, 0.94GB read
Requests/sec: 122587.33
Transfer/sec:    478.20MB
"""


def test_small_corpus_has_valid_wheels(tmp_path: Path) -> None:
    """The small corpus has valid wheels of matching names and metadata, with the probe of 10 kB."""
    files = sorted(corpus.small(tmp_path, 20).iterdir())
    assert len(files) == 20
    for file in files:
        name, version, _, _ = parse_wheel_filename(file.name)
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
            (inner,) = (each for each in archive.namelist() if each.endswith("/METADATA"))
            metadata = Metadata.from_email(archive.read(inner))
        assert (metadata.name.replace("-", "_"), metadata.version) == (
            name.replace("-", "_"),
            version,
        )
    probe = corpus.wheel_name(corpus.PROBE_PROJECT, "1.0")
    assert (tmp_path / files[0].parent / probe).stat().st_size == corpus.PROBE_SIZE


def test_small_corpus_is_reproducible(tmp_path: Path) -> None:
    """The small corpus has the same bytes each time, and an existing one is not rewritten."""
    first, second = (corpus.small(tmp_path / each, 20) for each in "ab")
    contents = [{file.name: file.read_bytes() for file in d.iterdir()} for d in (first, second)]
    assert contents[0] == contents[1]
    (first / "kept").touch()
    assert (corpus.small(tmp_path / "a", 20) / "kept").exists()


def test_releases_have_one_large_project() -> None:
    """The releases of a thousand files are one project of 300, the probe, and projects of ten."""
    sizes = Counter(project for project, _ in corpus.releases(1000))
    assert sizes.total() == 1000
    assert sizes[corpus.MANY_PROJECT] == 300
    assert sizes.most_common(2)[1][1] == 10
    assert len(set(corpus.releases(1000))) == 1000


def test_large_corpus_is_incompressible(tmp_path: Path) -> None:
    """The large corpus has wheels of stored bytes that no two of them share."""
    files = sorted(corpus.large(tmp_path, 2, 1).iterdir())
    assert [file.stat().st_size > corpus.MEBI for file in files] == [True, True]
    assert files[0].read_bytes()[200:300] != files[1].read_bytes()[200:300]


def test_wrk_output_is_parsed() -> None:
    """The parser returns rates per second and latencies in milliseconds from any unit."""
    assert parse(WRK) == Sample(122587.33, 478.20 * 1024**2, 0.211, 3.05)


@pytest.mark.parametrize(
    "line",
    ["  Socket errors: connect 0, read 3, write 0, timeout 0", "  Non-2xx or 3xx responses: 12"],
)
def test_parser_rejects_failed_requests(line: str) -> None:
    """The parser raises an error for a run with failed requests."""
    with pytest.raises(LoadError, match=line.strip()):
        parse(f"{WRK}{line}\n")


def test_ratio_compares_neighbouring_runs() -> None:
    """The ratio compares neighbouring runs, so a slow minute of the machine does not change it."""
    assert ratio([90, 45, 9], [100, 50, 10]) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9671, "0.967"), (12.34, "12.3"), (99.96, "100"), (104512.4, "104,512"), (0, "0")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """A number in a table has three significant digits and no exponent."""
    assert number(value) == text


def _report() -> Report:
    goal = Goal("at least", 0.95)
    return Report(
        {"machine": "2 cores"},
        [
            Figure("Files", "10 kB wheel", 1000, 0.97, "of plain", goal, "ours 97 req/s"),
            Figure("Memory", "worker", 1000, 30, "MiB"),
            Figure("Files", "200 MB wheel", 1000, 0.5, "of plain", goal),
            Figure("Memory", "worker", 10_000, 45, "MiB"),
        ],
    )


def test_report_prints_tables() -> None:
    """A report prints one table for each group, with goals and whether they are met."""
    assert _report().markdown() == (
        "- machine: 2 cores\n"
        "\n"
        "## Files\n"
        "\n"
        "| what | files | measured | goal |  | made of |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| 10 kB wheel | 1,000 | **0.97** of plain | at least 0.95 | met | ours 97 req/s |\n"
        "| 200 MB wheel | 1,000 | **0.5** of plain | at least 0.95 | NOT MET |  |\n"
        "\n"
        "## Memory\n"
        "\n"
        "| what | files | measured | goal |  | made of |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| worker | 1,000 | **30** MiB |  |  |  |\n"
        "| worker | 10,000 | **45** MiB |  |  |  |\n"
        "\n"
        "1 of 2 goals met.\n"
    )


def test_report_loads_saved_json(tmp_path: Path) -> None:
    """A report loads its saved JSON, goals included."""
    _report().save(tmp_path / "deep" / "run.json")
    assert Report.load(tmp_path / "deep" / "run.json") == _report()


def test_growth_compares_most_files_with_fewest() -> None:
    """Growth is the ratio of a figure at the largest size to that at the smallest."""
    steady = {
        ("Memory", "worker"): Goal("at most", 1.1),
        ("Files", "10 kB wheel"): Goal("at most", 1),
    }
    (figure,) = growth(_report().figures, steady)
    assert (figure.value, figure.unit, figure.verdict) == (1.5, "of that at 1,000", "NOT MET")


def test_server_ends_with_context(tmp_path: Path) -> None:
    """A server answers during the context and is ended after it."""
    (tmp_path / "page").write_text("one page")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "http.server",
        "-b",
        HOST,
        "-d",
        str(tmp_path),
        str(port),
    ]
    with servers.running(command, port, "/page", tmp_path / "log") as server:
        assert Target(server, "/page").fetch() == b"one page"
        assert server.cpu() > 0
    with pytest.raises(OSError):
        http.client.HTTPConnection(HOST, port, timeout=5).request("GET", "/page")


def test_failed_server_reports_output(tmp_path: Path) -> None:
    """A server that ends at once raises an error with its output."""
    command = [sys.executable, "-c", "raise SystemExit('no such folder')"]
    with (
        pytest.raises(servers.ServerError, match="no such folder"),
        servers.running(command, free_port(), "/", tmp_path / "log"),
    ):
        pass


@pytest.mark.integration
def test_collecting_is_measured(tmp_path: Path) -> None:
    """A small mirror is measured beside pip and mmw, near and at a distance; a repeated run makes
    the index send nothing."""
    found = tools.prepare(Path(".cache/bench").absolute())
    packages, state = tmp_path / "packages", tmp_path / "state"
    packages.mkdir()
    make_wheel(packages, "first", "1.0", requires=["second"])
    make_wheel(packages, "second", "1.0")
    update(spec.for_directory(packages, state))

    matrix = Matrix(("first",), ("3.12", "3.13"))
    work = tmp_path / "work"
    work.mkdir()
    figures = list(collecting.measure(found, (packages, state), work, matrix, (1, 2)))

    whats = [figure.what for figure in figures]
    for where in ("near", "distant"):
        assert f"one target, {where}, pip download" in whats
        assert f"4 targets, {where}, mmw" in whats
        (sent,) = (each for each in figures if where in each.what and each.unit == "bytes")
        assert (sent.value, sent.files) == (0, 2)
    assert figures[-1].what == "peak of memory with a wheel of 2 MiB"
