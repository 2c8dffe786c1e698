"""Files as operators name them: by file name, or a whole release."""

from appliance.errors import PyindexError
from appliance.index.names import distribution, normalize
from appliance.index.versions import normalize_version, version_key


def check_what(what: str) -> None:
    """Raise :class:`PyindexError` for text that means no file, such as the name of a project."""
    if "==" not in what and distribution(what) is None:
        raise PyindexError(f"expected a file name or PROJECT==VERSION, got {what!r}")


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
