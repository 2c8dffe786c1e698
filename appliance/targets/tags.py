"""Tags of wheels that a target can install, best first (PEP 425)."""

from packaging.tags import Tag, compatible_tags, cpython_tags, generic_tags

from appliance.targets.interpreters import Interpreter
from appliance.targets.platforms import Platform


def tags(interpreter: Interpreter, platform: Platform) -> tuple[Tag, ...]:
    """Return all tags that the newest pip of this Python accepts, in its order of preference.

    uv has the same tags; it prefers a manylinux wheel to a linux wheel on any Python.
    """
    version, platforms = interpreter.version, _ordered(interpreter, platform)
    if interpreter.is_cpython:
        own = cpython_tags(version, [interpreter.abi], platforms)
    else:
        own = generic_tags(interpreter.tag, [interpreter.abi], platforms)
    return (*own, *compatible_tags(version, interpreter.tag, platforms))


def _ordered(interpreter: Interpreter, platform: Platform) -> list[str]:
    """The platform tags as that pip orders them: the last one for Python 3.9 has the native tag of
    Linux last, as packaging before 26.3 has."""
    if interpreter.version >= (3, 10):
        return list(platform.tags)
    return sorted(platform.tags, key=lambda tag: tag.startswith("linux_"))
