"""The spec to the files of a host, as values: the same spec gives the same bytes.

Not here: placing files on a host (`host`).

From the ground up:
:mod:`escapes` writes values into a syntax, :mod:`system` knows the operating systems,
:mod:`hostspec` the spec as a host gets it, :mod:`layout` paths on a host, and :mod:`templates` runs
templates. :mod:`clients`, :mod:`site` and :mod:`host` say which values they get: client settings,
the nginx site, all files of a host; :mod:`front` an nginx for ``pyindex serve``.
:mod:`clientfiles` writes client settings where clients read them. :mod:`place` writes and compares
rendered files, :mod:`check` has them read by their programs, :mod:`lint` by what systemd 219 knows.
"""

from appliance.render.clients import CLIENT, client
from appliance.render.front import FrontValues, front
from appliance.render.host import HostFile, files, select
from appliance.render.hostspec import normal_form, without_ipv6
from appliance.render.layout import LOGS, RELEASE, SETTINGS, SOCKET, USER
from appliance.render.site import nginx

__all__ = [
    "CLIENT",
    "LOGS",
    "RELEASE",
    "SETTINGS",
    "SOCKET",
    "USER",
    "FrontValues",
    "HostFile",
    "client",
    "files",
    "front",
    "nginx",
    "normal_form",
    "select",
    "without_ipv6",
]
