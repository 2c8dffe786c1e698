"""Rules of the index standards, checked with real clients."""

import re

import pytest

from tests.dist import make_wheel
from tests.integration.clients import NEWEST, Environments
from tests.integration.installers import install
from tests.integration.projects import YANK_REASON
from tests.integration.servers import Server, wait_until
from tests.integration.taps import tapped

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "client", ["pip-9.0.3-py2.7", "pip-9.0.3-py3.6", "pip-20.3.4-py2.7", NEWEST.name, "uv"]
)
def test_client_skips_release_for_other_python(
    client: str, server: Server, environments: Environments
) -> None:
    """A client skips a release for other Python versions."""
    installed = install(client, environments(client), f"{server.url}/simple/", "choosy")
    assert installed.versions("choosy") == ["1.0"]


@pytest.mark.parametrize(
    "client",
    ["pip-20.3.4-py2.7", "pip-21.3.1-py3.6", "pip-22.3.1-py3.11", NEWEST.name, "uv", "poetry"],
)
@pytest.mark.parametrize(
    ("requirement", "version"), [("retracted", "1.0"), ("retracted==1.1", "1.1")]
)
def test_client_installs_yanked_release_only_if_pinned(
    client: str, requirement: str, version: str, server: Server, environments: Environments
) -> None:
    """A client installs a yanked release only if it is pinned."""
    installed = install(client, environments(client), f"{server.url}/simple/", requirement)
    assert installed.versions("retracted") == [version]


def test_pip_shows_reason_of_yank(server: Server, environments: Environments) -> None:
    """pip shows the reason when it installs a pinned yanked release."""
    output = environments(NEWEST.name).run(
        *("-m", "pip", "install", "--index-url", f"{server.url}/simple/", "retracted==1.1")
    )
    assert YANK_REASON in output


@pytest.mark.parametrize("spelling", ["bar.demo", "bar-demo", "Bar_Demo"])
@pytest.mark.parametrize(
    "client", ["pip-9.0.3-py2.7", "pip-18.1-py2.7", "pip-22.3.1-py3.11", "pip-23.0.1-py3.11", "uv"]
)
def test_client_installs_dotted_name(
    client: str, spelling: str, server: Server, environments: Environments
) -> None:
    """A client installs a project with a dot in its name by any spelling."""
    installed = install(client, environments(client), f"{server.url}/simple/", spelling)
    assert installed.versions("bar_demo") == ["1.0"]


def test_easy_install_follows_redirect_to_normalized_name(
    server: Server, environments: Environments
) -> None:
    """easy_install requests a project as spelled and follows the redirect to its page."""
    environment = environments("easy_install-py2.7")
    with tapped(server.port) as tap:
        install("easy_install", environment, f"{tap.url}/simple/", "Demo_Base<2")
    asked = [request.path for request in tap.asked("/")]
    assert asked[:2] == ["/simple/Demo_Base/", "/simple/demo-base/"]
    assert environment.versions("demo_base") == ["1.5"]


@pytest.mark.parametrize(
    "client", ["pip-8.1.2-py2.7", "pip-18.1-py2.7", "pip-20.3.4-py2.7", NEWEST.name, "uv"]
)
@pytest.mark.parametrize(
    ("requirement", "version"),
    [("local-demo==1.0+cpu.1", "1.0+cpu.1"), ("local-demo", "1.0+cpu.1")],
)
def test_client_installs_local_version(
    client: str, requirement: str, version: str, server: Server, environments: Environments
) -> None:
    """A client downloads a file with a plus sign in its name, however it quotes the URL."""
    installed = install(client, environments(client), f"{server.url}/simple/", requirement)
    assert installed.versions("local_demo") == [version]


@pytest.mark.parametrize(
    ("client", "command"),
    [
        (NEWEST.name, ["pip", "install", "--dry-run", "--report", "-", "--index-url"]),
        ("uv", ["uv", "pip", "install", "--dry-run", "--default-index"]),
    ],
)
def test_client_resolves_without_wheel(
    client: str, command: list[str], server: Server, environments: Environments
) -> None:
    """A client resolves dependencies from ``.metadata`` files and downloads no wheel for that."""
    with tapped(server.port) as tap:
        environments(client).run("-m", *command, f"{tap.url}/simple/", "demo")
    asked = [request.path.rpartition("/")[2] for request in tap.asked(".metadata")]
    assert asked == [
        "demo-1.1-py2.py3-none-any.whl.metadata",
        "Demo_Base-1.5-py2.py3-none-any.whl.metadata",
    ]
    assert tap.asked(".whl") == []


def test_pip_limits_upload_time(server: Server, environments: Environments) -> None:
    """pip with ``--uploaded-prior-to`` installs the newest release of that day."""
    environment = environments(NEWEST.name)
    environment.run(
        *("-m", "pip", "install", "--index-url", f"{server.url}/simple/"),
        *("--uploaded-prior-to", "2022-01-01T00:00:00Z", "dated"),
    )
    assert environment.versions("dated") == ["1.0"]


@pytest.mark.parametrize(("day", "version"), [("2022-01-01", "1.0"), ("2025-01-01", "2.0")])
def test_uv_limits_upload_time(
    day: str, version: str, server: Server, environments: Environments
) -> None:
    """uv with ``--exclude-newer`` selects the newest release of that day."""
    environment = environments("uv")
    requirements = environment.home / "requirements.in"
    requirements.write_text("dated\n")
    output = environment.run(
        *("-m", "uv", "pip", "compile", "--no-header", "--exclude-newer", day),
        *("--default-index", f"{server.url}/simple/", requirements),
    )
    assert re.findall(r"^dated==(\S+)", output, re.MULTILINE) == [version]


@pytest.mark.parametrize("client", ["pip-18.1-py2.7", NEWEST.name, "uv"])
def test_client_sees_new_release_immediately(
    client: str, server: Server, environments: Environments
) -> None:
    """A client with a cache sees a release that was added after its last request."""
    name = f"fresh-{client}-{server.port}".replace(".", "-")
    module = name.replace("-", "_").lower()
    environment = environments(client)
    for version in ("1.0", "2.0"):
        path = make_wheel(server.packages, name, version)
        wait_until(f"{server.url}/simple/{name}/", path.name)
        install(client, environment, f"{server.url}/simple/", f"{name}>={version}")
        assert environment.versions(module) == [version]
