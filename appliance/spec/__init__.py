"""The spec: one YAML file, read into one frozen value.

Not here: what a spec is used for.

From the lowest: :mod:`source` opens the file, :mod:`document` reads YAML with its lines,
:mod:`forms` and :mod:`addresses` check single values, :mod:`links` rules between keys, and
:mod:`faults` words what is wrong. :mod:`model` has all keys as one value, and the paths in the
state directory; `starter.yml` shows all keys. :mod:`json_schema` is their JSON Schema, and
:mod:`loading` makes a spec from a file or a directory.
"""

from appliance.spec.json_schema import reference, schema
from appliance.spec.loading import for_directory, load, with_host, with_url
from appliance.spec.model import (
    Accounts,
    Backup,
    Host,
    IndexSection,
    Keep,
    Nginx,
    Repository,
    Server,
    Spec,
    Tls,
    Upstream,
)

__all__ = [
    "Accounts",
    "Backup",
    "Host",
    "IndexSection",
    "Keep",
    "Nginx",
    "Repository",
    "Server",
    "Spec",
    "Tls",
    "Upstream",
    "for_directory",
    "load",
    "reference",
    "schema",
    "with_host",
    "with_url",
]
