"""Files as operators name them: by file name, or a whole release."""

from appliance.index.names import distribution, normalize
from appliance.index.versions import normalize_version, version_key


def is_meant(what: str, filename: str) -> bool:
    """Return whether ``what``, a file name or ``PROJECT==VERSION``, means a file of this name."""
    project, is_release, version = what.partition("==")
    if not is_release:
        return filename == what
    named = distribution(filename)
    return (
        named is not None
        and named.project == normalize(project.strip())
        and version_key(named.version) == version_key(normalize_version(version.strip()))
    )
