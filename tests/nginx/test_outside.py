"""Files replaced by links: servers send nothing from outside a packages directory."""

import os
import shutil
from pathlib import Path

import pytest

from appliance import render, spec
from appliance.operations.update import update
from benchmarks.ports import HOST
from tests.conftest import eventually
from tests.dist import make_wheel
from tests.nginx.servers import Server, application, serving
from tests.nginx.sites import make_spec, nginx_port

SECRET = b"a secret that no index offers"


def link_file(file: Path, secret: Path) -> None:
    link(file, secret)


def link_relative(file: Path, secret: Path) -> None:
    link(file, Path(os.path.relpath(secret, file.parent)))


def link_device(file: Path, secret: Path) -> None:
    link(file, Path("/dev/zero"))


def link(file: Path, target: Path) -> None:
    new = file.with_name("new")
    new.symlink_to(target)
    new.rename(file)


def link_directory(file: Path, secret: Path) -> None:
    outside = secret.with_name(f"outside {file.name}")
    outside.mkdir()
    shutil.copyfile(secret, outside / file.name)
    file.parent.rename(file.parent.with_name("moved"))
    file.parent.symlink_to(outside)


def link_above(file: Path, secret: Path) -> None:
    outside = secret.with_name(f"outside {file.name}") / "deep"
    outside.mkdir(parents=True)
    shutil.copyfile(secret, outside / file.name)
    above = file.parent.parent
    above.rename(above.with_name("moved"))
    above.symlink_to(outside.parent)


def fifo(file: Path, secret: Path) -> None:
    os.mkfifo(file.with_name("new"))
    file.with_name("new").rename(file)


def directory(file: Path, secret: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "index.html").write_bytes(SECRET)


ATTACKS = [link_file, link_relative, link_device, link_directory, link_above, fifo, directory]


@pytest.mark.parametrize(
    ("prefix", "is_hot"), [("", False), ("/team", False), ("", True)], ids=["cold", "prefix", "hot"]
)
def test_servers_do_not_send_replacement_of_file(tmp_path: Path, prefix: str, is_hot: bool) -> None:
    """Neither server sends what replaces an accepted file before the next scan."""
    path = make_spec(tmp_path, prefix)
    given = spec.load(path)
    directories = {
        attack: given.indexes["main"].packages / attack.__name__ / "deep" for attack in ATTACKS
    }
    for number, directory in enumerate(directories.values()):
        directory.mkdir(parents=True)
        make_wheel(directory, "foo", f"1.{number}").rename(
            directory / f"foo-1.{number}-py3-none-any.whl"
        )
    update(given)
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with (
        application(path, given.server.port),
        serving(tmp_path / "nginx", render.nginx(given, HOST)),
    ):
        nginx, embedded = Server(nginx_port(given), prefix), Server(given.server.port)
        for attack, directory in directories.items():
            (file,) = directory.iterdir()
            url = f"/packages/{attack.__name__}/deep/{file.name}"
            content = file.read_bytes()
            for server in (nginx, embedded):
                for _ in range(5 if is_hot else 0):
                    assert server.ask(url).body == content
            attack(file, secret)
            assert embedded.ask(url).status == 404
            for _ in range(10):
                answer = nginx.ask(url)
                assert answer.status == 404 or (is_hot and answer.body == content)
            eventually(lambda url=url: nginx.ask(url).status == 404)  # type: ignore[misc]
            assert nginx.ask(f"{url}/index.html").status == 404
            assert embedded.ask(f"{url}/index.html").status == 404


def test_application_serves_links_inside_directory(tmp_path: Path) -> None:
    """Both servers send files behind links that stay inside a packages directory."""
    path = make_spec(tmp_path)
    (tmp_path / "main").rename(tmp_path / "real")
    (tmp_path / "main").symlink_to("real")
    (tmp_path / "state").rename(tmp_path / "kept")
    (tmp_path / "state").symlink_to("kept")
    wheel = make_wheel(tmp_path / "real/sub dir", "foo", "1.0")
    (tmp_path / "real/deep/er").mkdir(parents=True)
    link = tmp_path / "real/deep/er/bar-1.0-py2.py3-none-any.whl"
    make_wheel(tmp_path / "real/sub dir", "bar", "1.0").rename(tmp_path / "real/.hidden")
    link.symlink_to("../../.hidden")
    given = spec.load(path)
    update(given)
    with (
        application(path, given.server.port),
        serving(tmp_path / "nginx", render.nginx(given, HOST)),
    ):
        for server in (Server(nginx_port(given)), Server(given.server.port)):
            assert server.ask(f"/packages/sub%20dir/{wheel.name}").body == wheel.read_bytes()
            assert server.ask(f"/packages/deep/er/{link.name}").body == link.read_bytes()
            assert server.ask(f"/main/packages/deep/er/{link.name}.metadata").status == 200
