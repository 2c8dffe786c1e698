"""A reload of nginx that has no effect is noticed, as nginx itself reports no error."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import PyindexError
from appliance.host import HostPaths, load_files
from appliance.host import load as loading
from tests.conftest import eventually
from tests.host.hosts import FIRST, new_host, run

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")


class Nginx:
    """An nginx of a temporary directory, which stands for the service of a host."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.log = directory, directory / "error.log"
        self._process: subprocess.Popen[bytes] | None = None

    def listen(self, port: int) -> None:
        """Write settings with this port; the running nginx does not read them before a reload."""
        http = f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; }} }}"
        text = f"pid {self.directory}/pid; error_log {self.log}; events {{}} {http}"
        (self.directory / "nginx.conf").write_text(text)

    def start(self) -> None:
        command = (
            "nginx",
            "-c",
            self.directory / "nginx.conf",
            "-e",
            self.log,
            "-g",
            "daemon off;",
        )
        self._process = subprocess.Popen(command)
        eventually(lambda: (self.directory / "pid").exists())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def run(self, *command: str, check: bool = True) -> str:
        """What a host's programs do, as far as nginx is concerned."""
        assert self._process is not None
        if "reload-or-restart" in command:
            self._process.send_signal(signal.SIGHUP)
        return f"MainPID={self._process.pid}\n" if "show" in command else ""


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nginx]:
    served = Nginx(tmp_path)
    monkeypatch.setattr(loading, "NGINX_LOG", served.log)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served.listen(port)
    served.start()
    yield served
    served.stop()


@pytest.fixture
def reload(tmp_path: Path, nginx: Nginx) -> Callable[[], bool]:
    """Load the files of nginx on a host of one release."""
    host: HostPaths = new_host(tmp_path / "host", FIRST)
    run(host, FIRST)
    return lambda: load_files(host, "nginx", force=True, run=nginx.run)


def test_reload_that_takes_effect_is_recorded(reload: Callable[[], bool]) -> None:
    """New workers are the proof."""
    assert reload()


def test_port_of_another_program_fails_the_reload(
    nginx: Nginx, reload: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the one that nginx logged."""
    monkeypatch.setattr(loading, "_START_SECONDS", 4)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        nginx.listen(port)
        failed = rf"nginx: not reloaded: .*bind\(\) to 127.0.0.1:{port} failed \(98: .*in use\)"
        with pytest.raises(PyindexError, match=failed):
            reload()
    assert reload()


def test_reload_without_effect_and_without_a_log_is_noticed(
    nginx: Nginx, reload: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An nginx that logs elsewhere has no error to show; the error says where one may be."""
    monkeypatch.setattr(loading, "_START_SECONDS", 1)
    monkeypatch.setattr(loading, "NGINX_LOG", nginx.directory / "elsewhere.log")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nginx.listen(taken.getsockname()[1])
        with pytest.raises(PyindexError, match=r"not reloaded: no new workers; read .*elsewhere"):
            reload()
