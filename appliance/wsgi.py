"""The application for any gunicorn: `gunicorn appliance.wsgi`, with the spec in PYINDEX_SPEC.

Run ``pyindex watch`` beside it: it takes files in and publishes them.
"""

import os
from pathlib import Path

from appliance import spec
from appliance.web.app import create_app

application = create_app(spec.load(Path(os.environ.get("PYINDEX_SPEC", "pyindex.yml"))))
