"""Whether this machine installs from an index, and from nowhere else.

Not here: the health of an index (`operations`), and writing the settings of clients (`render`).

:mod:`finding` is what everything here yields. :mod:`settings` reads what pip and uv are told,
:mod:`road` goes the way to the index, name by name and byte by byte, and :mod:`witness` has the
clients install through a proxy that knows one host only.
"""

from appliance.doctor.examination import examine
from appliance.doctor.finding import Finding

__all__ = ["Finding", "examine"]
