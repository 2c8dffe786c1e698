"""Targets of the tests, constructed without reading anything from the interpreter that runs."""

from packaging.tags import Tag, compatible_tags, cpython_tags

from appliance.targets.target import Target

LINUX = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
_PLATFORMS = {
    "linux": (LINUX, "posix", "Linux", "x86_64"),
    "win32": (("win_amd64",), "nt", "Windows", "AMD64"),
    "darwin": (("macosx_12_0_arm64", "macosx_11_0_arm64"), "posix", "Darwin", "arm64"),
}


def target(python: str = "3.11", system: str = "linux") -> Target:
    """A target by the version of its CPython, such as ``3.9``, and its ``sys_platform``."""
    platforms, os_name, platform_system, machine = _PLATFORMS[system]
    major, minor = map(int, python.split("."))
    interpreter = f"cp{major}{minor}"
    tags: list[Tag] = [*cpython_tags((major, minor), platforms=platforms)]
    tags += compatible_tags((major, minor), interpreter, platforms)
    full = f"{python}.5"
    environment = {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": os_name,
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": platform_system,
        "platform_version": "",
        "python_full_version": full,
        "python_version": python,
        "sys_platform": system,
    }
    return Target(
        f"{interpreter}-{platforms[0]}", interpreter, platforms[0], tuple(tags), environment
    )


TARGETS = {
    "cp311-linux": target(),
    "cp39-windows": target("3.9", "win32"),
    "cp312-macos": target("3.12", "darwin"),
    "cp310-linux": target("3.10"),
}
