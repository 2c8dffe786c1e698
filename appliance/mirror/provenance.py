"""Provenance of files (PEP 740), fetched beside them. It is kept, and not verified."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from appliance.atomic import Batch
from appliance.errors import Rejected
from appliance.index.names import PROVENANCE, parse
from appliance.text import counted
from appliance.upstream import Client, RemoteFile, UpstreamError


async def fetch_provenance(
    client: Client, files: Sequence[RemoteFile], directory: Path
) -> list[str]:
    """Write the provenance of each of ``files`` that has one into ``directory``, under its name and
    the ending of provenance.

    What cannot be fetched is left out, since no installer needs it; returns messages about that.
    """
    by_host: dict[str, list[RemoteFile]] = {}
    for file in files:
        if file.provenance is not None and _can_be_written(file.filename):
            by_host.setdefault(urlsplit(file.provenance).netloc, []).append(file)
    with Batch() as batch:
        found = await asyncio.gather(
            *(_of_host(client, each, directory, batch) for each in by_host.values())
        )
    return [note for notes in found for note in notes]


def _can_be_written(filename: str) -> bool:
    """Return whether a name, which a hostile page may state, is one that a fetch writes."""
    try:
        parse(filename)
    except Rejected:
        return False
    return True


async def _of_host(
    client: Client, files: Sequence[RemoteFile], directory: Path, batch: Batch
) -> list[str]:
    """Fetch one first: pages of a mirror may name a host that this machine does not reach."""

    async def fetch(file: RemoteFile) -> str | None:
        try:
            content = await client.provenance(file)
        except UpstreamError as error:
            return f"{error}; {file.filename} is kept without its provenance"
        if content is not None:
            batch.write(directory / f"{file.filename}{PROVENANCE}", content)
        return None

    first, *rest = files
    if (note := await fetch(first)) is not None:
        more = f", and {counted(len(rest), 'other file')} without theirs" if rest else ""
        return [note + more]
    return [note for note in await asyncio.gather(*map(fetch, rest)) if note is not None]
