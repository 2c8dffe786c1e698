"""Questions to upstreams, as one run asks them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from appliance.upstream import Client, Limits, RemoteFile, Upstreams
from tests.upstream.conftest import LIMITS
from tests.upstream.faulty import Behavior, Faulty, page

T = TypeVar("T")
JSON = "application/vnd.pypi.simple.v1+json"
FOO = "/simple/foo/"


def asked(
    upstreams: Upstreams,
    question: Callable[[Client], Awaitable[T]],
    cache: Path | None = None,
    limits: Limits = LIMITS,
) -> T:
    """The answer of a new client."""

    async def main() -> T:
        async with Client(upstreams, cache, limits) as client:
            return await question(client)

    return asyncio.run(main())


def of(*servers: Faulty, is_merged: bool = False) -> Upstreams:
    return Upstreams(tuple(f"{server.url}/simple/" for server in servers), is_merged)


def names(
    upstreams: Upstreams, cache: Path | None = None, limits: Limits = LIMITS
) -> list[str] | None:
    """The names of the files of foo; ``None`` if there is no such project."""
    project = asked(upstreams, lambda client: client.project("Foo"), cache, limits)
    return None if project is None else [file.filename for file in project.files]


def links(*filenames: str) -> Behavior:
    return page("".join(f'<a href="/f/{name}">{name}</a>' for name in filenames), ETag='"1"')


GOOD = links("foo-1.0.tar.gz")


def metadata(file: RemoteFile, cache: Path | None = None) -> bytes | None:
    return asked(Upstreams(), lambda client: client.metadata(file), cache)
