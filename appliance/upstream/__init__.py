"""Upstreams: remote indexes, their project pages, core metadata and files, over HTTP.

Not here: which files are wanted (`resolution`), taking them into an index (`mirror`).

:func:`configuration.choose` gives the :class:`Upstreams` to use, from the command line, an input,
the spec, or pip's and uv's configuration; :mod:`environment` passes them to uv and pip::

    upstreams = choose(command_line, demand.options, spec)
    async with Client(upstreams, cache) as client:
        project = await client.project("mako")        # RemoteProject, or None
        content = await client.metadata(file)          # bytes, or None: fetch the file itself
        outcomes = await fetch(client, files, directory, progress)  # Fetched or Failed

All of it runs in one event loop. A thread, as a resolver's, calls it by
``asyncio.run_coroutine_threadsafe``. :class:`Limits` has all time limits and sizes;
:class:`UpstreamError` is what an upstream cannot answer.

From the lowest: :mod:`urls`, :mod:`limits`, :mod:`failures` with retries, :mod:`upstreams` and
:mod:`model`, the values, :mod:`credentials`, :mod:`connection` for requests, :mod:`pages` reads
project pages, :mod:`wheelend` core metadata from a part of a wheel, :mod:`findlinks`, :mod:`cache`,
:mod:`client`; :mod:`partial` and :mod:`fetch` for files.
"""

from appliance.upstream.cache import Cache
from appliance.upstream.client import Client
from appliance.upstream.configuration import choose
from appliance.upstream.environment import (
    git_environment,
    uv_arguments,
    uv_environment,
)
from appliance.upstream.failures import UpstreamError
from appliance.upstream.fetch import NO_REPORT, Failed, Fetched, Outcome, Report, fetch
from appliance.upstream.limits import Limits
from appliance.upstream.model import RemoteFile, RemoteProject
from appliance.upstream.upstreams import Credential, Network, Upstreams

__all__ = [
    "NO_REPORT",
    "Cache",
    "Client",
    "Credential",
    "Failed",
    "Fetched",
    "Limits",
    "Network",
    "Outcome",
    "RemoteFile",
    "RemoteProject",
    "Report",
    "UpstreamError",
    "Upstreams",
    "choose",
    "fetch",
    "git_environment",
    "uv_arguments",
    "uv_environment",
]
