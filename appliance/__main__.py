"""``python -m appliance`` is ``pyindex``."""

import sys

# Python puts the current directory first, which may be one of packages, with a json.py in it. What
# Python itself imported before this line it may have taken from there: `python -P -m appliance`.
if not sys.flags.safe_path:
    del sys.path[0]

from appliance.cli import main

if __name__ == "__main__":
    sys.exit(main())
