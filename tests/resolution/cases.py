# ruff: noqa: E501 - a table of one case a line
"""Cases in addition to the scenarios of packse: what operators meet behind an air gap."""

from collections.abc import Mapping

from tests.resolution.universe import Release, Scenario

Releases = Mapping[tuple[str, str], Release]
ANY = Release(requires_python=None)


def _case(name: str, requires: str, releases: Releases, **options: object) -> Scenario:
    return Scenario(name, releases, tuple(requires.split(" & ")), **options)  # type: ignore[arg-type]


def _needs(*requires: str, **more: object) -> Release:
    return Release(requires=requires, requires_python=None, **more)  # type: ignore[arg-type]


WHEEL = _needs(sdist=False)
SDIST = _needs(wheel=False)
WINDOWS = _needs(sdist=False, wheel_tags=("cp313-cp313-win_amd64", "cp313-abi3-win_amd64"))

CASES = (
    _case("wheel-of-other-platform", "a", {("a", "1.0"): WINDOWS}),
    _case("older-wheel-of-this-platform", "a", {("a", "2.0"): WINDOWS, ("a", "1.0"): WHEEL}),
    _case("pin-of-other-platform", "a==2.0", {("a", "2.0"): WINDOWS, ("a", "1.0"): WHEEL}),
    _case("dependency-on-other-platform", "a", {("a", "1.0"): _needs("b; sys_platform == 'win32'")}),
    _case("dependency-on-this-platform", "a", {("a", "1.0"): _needs("b; sys_platform == 'linux'")}),
    _case("sdist-with-back-end-present", "a", {
        ("a", "1.0"): _needs(wheel=False, build=("b>=1",)), ("b", "1.0"): WHEEL}),
    _case("extra-missing-file", "a[x]", {("a", "1.0"): _needs(extras={"x": ["b"]})}),
    _case("extra-present", "a[x]", {("a", "1.0"): _needs(extras={"x": ["b"]}), ("b", "1.0"): WHEEL}),
    _case("extra-of-dependency", "a", {
        ("a", "1.0"): _needs("b[x]"), ("b", "1.0"): _needs(extras={"x": ["c>1"]}),
        ("c", "1.0"): WHEEL}),
    _case("extra-unknown", "a[nothing]", {("a", "1.0"): WHEEL}),
    _case("extra-spelled-otherwise", "a[Some_Extra]", {
        ("a", "1.0"): _needs(extras={"some-extra": ["b"]}), ("b", "1.0"): WHEEL}),
    _case("extras-that-conflict-in-each-release", "a[x,y]", {
        ("a", "2.0"): _needs(extras={"x": ["b>1"], "y": ["b<1"]}),
        ("a", "1.0"): _needs(extras={"x": ["b>1"], "y": ["b<1"]}),
        ("b", "0.5"): WHEEL, ("b", "1.5"): WHEEL}),
    _case("name-spelled-otherwise", "Some.Name", {("some-name", "1.0"): WHEEL}),
    _case("old-pythons-only", "a", {("a", "1.0"): Release(requires_python="<3")}),
    _case("newer-python-needed", "a", {("a", "1.0"): Release(requires_python=">=3.99")}),
    _case("python-excluded", "a", {("a", "1.0"): Release(requires_python="!=3.13.*")}),
    _case("backtrack-by-python", "a", {
        ("a", "2.0"): Release(requires_python=">=3.99"), ("a", "1.0"): ANY}),
    _case("yanked-only", "a", {("a", "1.0"): _needs(yanked=True)}),
    _case("yanked-pinned", "a==1.0", {("a", "1.0"): _needs(yanked=True)}),
    _case("yanked-in-range", "a>=1.0", {("a", "1.0"): _needs(yanked=True), ("a", "0.9"): ANY}),
    _case("yanked-pinned-by-dependency", "b", {
        ("b", "1.0"): _needs("a==1.0"), ("a", "1.0"): _needs(yanked=True)}),
    _case("pre-release-only", "a", {("a", "1.0rc1"): WHEEL}),
    _case("pre-release-allowed", "a>0.9", {("a", "1.0rc1"): WHEEL, ("a", "0.9"): WHEEL}, pre=True),
    _case("pre-release-pinned", "a==1.0rc1", {("a", "1.0rc1"): WHEEL, ("a", "0.9"): WHEEL}),
    _case("dev-release-of-dependency", "b", {
        ("b", "1.0"): _needs("a>=1.0.dev0"), ("a", "1.0.dev1"): WHEEL, ("a", "0.9"): WHEEL}),
    _case("pre-release-conflict", "a & b", {
        ("a", "1.0"): _needs("c<2"), ("b", "1.0"): _needs("c>=2.0a1"),
        ("c", "2.0a1"): WHEEL, ("c", "1.0"): WHEEL}),
    _case("circle", "a", {("a", "1.0"): _needs("b"), ("b", "1.0"): _needs("a")}),
    _case("circle-with-extras", "a[x]", {
        ("a", "1.0"): _needs(extras={"x": ["b[y]"]}), ("b", "1.0"): _needs(extras={"y": ["a[x]"]})}),
    _case("circle-of-versions", "a", {("a", "1.0"): _needs("b"), ("b", "1.0"): _needs("a<1")}),
    _case("two-requirements-of-one", "a>=1 & a<2", {("a", "2.0"): WHEEL, ("a", "1.5"): WHEEL}),
    _case("two-requirements-conflict", "a>=2 & a<2", {("a", "2.0"): WHEEL, ("a", "1.5"): WHEEL}),
    _case("local-version-pinned", "a==1.0", {("a", "1.0+cpu"): WHEEL}),
    _case("local-version-named", "a==1.0+cu12", {("a", "1.0+cpu"): WHEEL}),
    _case("epoch", "a<2", {("a", "1!1.0"): WHEEL, ("a", "1.0"): WHEEL}),
    _case("arbitrary-equality", "a===1.0", {("a", "1.0"): WHEEL}),
    _case("compatible-release", "a~=1.4.2", {("a", "1.5"): WHEEL, ("a", "1.4.9"): WHEEL}),
    _case("compatible-release-missing", "a~=1.4.2", {("a", "1.5"): WHEEL, ("a", "1.4.1"): WHEEL}),
    _case("wheels-excluded", "a", {("a", "1.0"): WHEEL}, no_binary=frozenset({"a"})),
    _case("sdists-excluded", "a", {("a", "1.0"): SDIST}, no_build=frozenset({"a"})),
    _case("sdist-newer-than-wheel", "a", {("a", "2.0"): SDIST, ("a", "1.0"): WHEEL}),
    _case("older-wheel-preferred", "a", {("a", "2.0"): SDIST, ("a", "1.0"): WHEEL}, prefer_binary=True),
    _case("older-wheel-too-old", "a>1", {("a", "2.0"): SDIST, ("a", "1.0"): WHEEL}, prefer_binary=True),
    _case("older-wheel-too-old-for-other", "a & b", {
        ("a", "2.0"): SDIST, ("a", "1.0"): WHEEL, ("b", "1.0"): _needs("a>1", sdist=False)},
        prefer_binary=True),
    _case("newest-wheel-preferred", "a", {
        ("a", "3.0"): SDIST, ("a", "2.0"): WHEEL, ("a", "1.0"): WHEEL}, prefer_binary=True),
    _case("markers-of-python", "a", {("a", "1.0"): _needs("b; python_version < '3'", "c; python_version >= '3'"),
        ("c", "1.0"): WHEEL}),
)  # fmt: skip
