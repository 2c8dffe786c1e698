"""Program that fetches files: ``python -m tests.upstream.fetcher DIRECTORY FILES``.

FILES is JSON: a list of name, URL, sha256 and size. It prints how many files were fetched, and the
most memory that was used, in KiB.
"""

import asyncio
import json
import resource
import sys
from pathlib import Path

from appliance.upstream import Client, Fetched, RemoteFile, Upstreams, fetch


async def main(directory: Path, files: list[RemoteFile]) -> None:
    async with Client(Upstreams()) as client:
        outcomes = await fetch(client, files, directory, parallel=4)
    count = sum(isinstance(outcome, Fetched) for outcome in outcomes)
    print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    rows = json.loads(sys.argv[2])
    files = [RemoteFile(name, url, {"sha256": sha256}, size) for name, url, sha256, size in rows]
    asyncio.run(main(Path(sys.argv[1]), files))
