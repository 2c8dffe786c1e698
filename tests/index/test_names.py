"""File names: parsing into project, version, kind and Python tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from appliance.errors import Rejected
from appliance.index import names
from appliance.index.versions import is_version_of, version_key

# File name, name in its metadata (None: unknown), project, version, kind, Python tag.
READ = [
    ("Beaker-1.9.1.tar.gz", "Beaker", "beaker", "1.9.1", "sdist", "source"),
    ("bx-python-0.7.3.tar.gz", "bx-python", "bx-python", "0.7.3", "sdist", "source"),
    ("bx-python-0.7.3.tar.gz", None, "bx-python", "0.7.3", "sdist", "source"),
    ("Tempita-0.5.3dev.tar.gz", None, "tempita", "0.5.3.dev0", "sdist", "source"),
    ("pytz-2017.3.zip", None, "pytz", "2017.3", "sdist", "source"),
    ("uwsgi-2.0.15.tar.gz", "uWSGI", "uwsgi", "2.0.15", "sdist", "source"),
    ("pytz-2004d.tar.gz", None, "pytz", "2004d", "sdist", "source"),
    ("foo-1.0-1.tar.gz", "foo", "foo", "1.0.post1", "sdist", "source"),
    ("foo-1.0-1.tar.gz", None, "foo", "1.0.post1", "sdist", "source"),
    ("foo-1.0-1.tar.gz", "foo-1.0", "foo-1-0", "1", "sdist", "source"),
    ("pkg-2to3-1.0.tar.gz", None, "pkg-2to3", "1.0", "sdist", "source"),
    ("my-pkg-3d-1.0.tar.gz", None, "my-pkg-3d", "1.0", "sdist", "source"),
    ("ABC12-34_V1X-1.2.3.zip", None, "abc12-34-v1x", "1.2.3", "sdist", "source"),
    ("foo-2-1.0.tar.gz", "foo-2", "foo-2", "1.0", "sdist", "source"),
    ("foo-1!2.0.tar.gz", None, "foo", "1!2.0", "sdist", "source"),
    ("foo-1.0+local.1.tar.gz", None, "foo", "1.0+local.1", "sdist", "source"),
    ("zope.interface-5.4.0.tar.gz", None, "zope-interface", "5.4.0", "sdist", "source"),
    (
        "backports.ssl_match_hostname-3.5.0.1.tar.gz",
        None,
        "backports-ssl-match-hostname",
        "3.5.0.1",
        "sdist",
        "source",
    ),
    ("foo-v1.2.3.tar.bz2", None, "foo", "1.2.3", "sdist", "source"),
    ("FOO-1.0.TAR.GZ", None, "foo", "1.0", "sdist", "source"),
    ("foo-1.0.tgz", None, "foo", "1.0", "sdist", "source"),
    ("foo-1.0.tar.xz", None, "foo", "1.0", "sdist", "source"),
    ("foo-final.zip", None, "foo", "final", "sdist", "source"),
    ("foo-1.0.linux-x86_64.tar.gz", None, "foo", "1.0", "bdist_dumb", "any"),
    ("foo-1.0.win32.zip", None, "foo", "1.0", "bdist_dumb", "any"),
    ("foo-1.0-py3-none-any.whl", None, "foo", "1.0", "bdist_wheel", "py3"),
    ("foo-1.0-1-py2.py3-none-any.whl", None, "foo", "1.0", "bdist_wheel", "py2.py3"),
    (
        "PyQt5-5.14.0-5.14.0-cp35.cp36-abi3-manylinux1_x86_64.whl",
        None,
        "pyqt5",
        "5.14.0",
        "bdist_wheel",
        "cp35.cp36",
    ),
    (
        "torch-2.1.0+cpu-cp311-cp311-linux_x86_64.whl",
        None,
        "torch",
        "2.1.0+cpu",
        "bdist_wheel",
        "cp311",
    ),
    ("odd_demo-1_3-py3-none-any.whl", None, "odd-demo", "1.post3", "bdist_wheel", "py3"),
    ("odd__demo-1.4-py3-none-any.whl", None, "odd-demo", "1.4", "bdist_wheel", "py3"),
    ("odd-demo-1.2-py3-none-any.whl", None, "odd-demo", "1.2", "bdist_wheel", "py3"),
    ("odd-demo-1.2-3-py3-none-any.whl", "odd-demo", "odd-demo", "1.2", "bdist_wheel", "py3"),
    ("pytz-2004d-py3-none-any.whl", None, "pytz", "2004d", "bdist_wheel", "py3"),
    (
        "Cheetah-2.4.4-cp27-cp27mu-manylinux1_x86_64.whl",
        None,
        "cheetah",
        "2.4.4",
        "bdist_wheel",
        "cp27",
    ),
    ("foo-1.0-py2.7.egg", None, "foo", "1.0", "bdist_egg", "2.7"),
    ("foo_bar-1.0-py3.11-linux-x86_64.egg", None, "foo-bar", "1.0", "bdist_egg", "3.11"),
    ("foo-1.0.win32-py2.7.exe", None, "foo", "1.0", "bdist_wininst", "2.7"),
    ("foo-1.0.win-amd64-py3.10.exe", None, "foo", "1.0", "bdist_wininst", "3.10"),
    ("bx-python-0.7.3.win32.exe", None, "bx-python", "0.7.3", "bdist_wininst", "any"),
    ("foo-1.0.win-amd64-py3.6.msi", None, "foo", "1.0", "bdist_msi", "3.6"),
]


@pytest.mark.parametrize(("filename", "name", "project", "version", "kind", "python"), READ)
def test_file_name_has_project_and_version(
    filename: str, name: str | None, project: str, version: str, kind: str, python: str
) -> None:
    """The parser reads old and new file names as pip does for a known project."""
    distribution = names.parse(filename, name)
    assert (
        distribution.project,
        distribution.version,
        distribution.kind,
        distribution.python_version,
    ) == (
        project,
        version,
        kind,
        python,
    )


# Version in a file name, version in its metadata, whether the two match.
VERSIONS = [
    ("1.0", "1.0", True),
    ("1.0", "1.0.0", True),
    ("1.0.post1", "1.0-1", True),
    ("1.2.0_SNAPSHOT", "1.2.0-SNAPSHOT", True),
    ("2004d", "2004d", True),
    ("0.2+cu130", "0.2", True),
    ("0.2+cu130", "0.2+CU130", True),
    ("0.2", "0.2+cu130", False),
    ("0.2+cu130", "0.2+cu129", False),
    ("0.2+cu130", "0.3", False),
    ("1.2.0_SNAPSHOT", "1.2.0", False),
    ("2004d", "2004", False),
    ("1.0", "9" * 5_000, False),  # more digits than int() takes
]


@pytest.mark.parametrize(("in_name", "in_metadata", "same"), VERSIONS)
def test_file_name_version_matches_metadata(in_name: str, in_metadata: str, same: bool) -> None:
    """A version matches with underscores for dashes, or a local part in the file name only."""
    assert is_version_of(in_name, in_metadata) == same


REFUSED = [
    ("README.txt", "not a package file"),
    ("foo-1.0.rpm", "not a package file"),
    ("foo-1.0-py2.7-x.html", "not a package file"),
    ("foo-1.0.win32-py2.7.pth", "not a package file"),
    ("foo.tar.gz", "no version"),
    ("foo-.tar.gz", "no version"),
    ("-1.0.tar.gz", "characters other than"),
    (".zip", "characters other than"),
    ("..zip", "characters other than"),
    (".hid-1.0.zip", "characters other than"),
    ("_foo-1.0.zip", "characters other than"),
    ("fo o-1.0.zip", "characters other than"),
    ("foo%2f-1.0.zip", "characters other than"),
    ("foo-1.0\n.zip", "characters other than"),
    ("../foo-1.0.zip", "characters other than"),
    ("fooé-1.0.zip", "characters other than"),
    ("<b>-1.0.zip", "characters other than"),
    ("foo_-1.0.zip", "not a valid project name"),
    ("foo-1.0.whl", "NAME-VERSION"),
    ("foo-1.0--py3-none-any.whl", "NAME-VERSION"),
    ("foo.egg", "NAME-VERSION-py"),
    ("foo-1.0.exe", "NAME-VERSION.PLATFORM"),
    ("foo-1.0.msi", "NAME-VERSION.PLATFORM"),
    (f"foo-{'1' * 300}.zip", "longer than"),
]


@pytest.mark.parametrize(("filename", "reason"), REFUSED)
def test_invalid_file_name_is_rejected(filename: str, reason: str) -> None:
    """The parser rejects a file name that installers cannot read or that is unsafe to serve."""
    with pytest.raises(Rejected, match=reason):
        names.parse(filename)


_NAME = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._]{0,8}[A-Za-z0-9])?", fullmatch=True)
_VERSION = st.from_regex(
    r"([1-9]!)?[0-9]{1,3}(\.[0-9]{1,2}){0,2}((a|b|rc)[0-9])?(\.post[0-9])?(\.dev[0-9])?"
    r"(\+[a-z0-9]{1,4})?",
    fullmatch=True,
)


@given(name=_NAME, version=_VERSION, build=st.sampled_from(["", "-1", "-2abc"]))
def test_wheel_name_is_parsed_like_packaging(name: str, version: str, build: str) -> None:
    """The parser reads each wheel name that packaging accepts as packaging does."""
    filename = f"{names.normalize(name).replace('-', '_')}-{version}{build}-py3-none-any.whl"
    project, release, _, _ = parse_wheel_filename(filename)
    distribution = names.parse(filename)
    assert (distribution.project, distribution.version) == (project, str(release))


@given(name=_NAME, version=_VERSION)
def test_sdist_name_is_parsed_like_packaging(name: str, version: str) -> None:
    """The parser reads each sdist name of PEP 625 as packaging does."""
    filename = f"{names.normalize(name).replace('-', '_')}-{version}.tar.gz"
    project, release = parse_sdist_filename(filename)
    distribution = names.parse(filename)
    assert (distribution.project, distribution.version) == (project, str(release))


@given(st.text(max_size=40), st.sampled_from(names.ENDINGS))
def test_any_file_name_is_parsed_or_rejected(text: str, suffix: str) -> None:
    """The parser returns a valid project name and a version for any text, or rejects it."""
    try:
        distribution = names.parse(text + suffix)
    except Rejected:
        return
    assert names.is_name(distribution.name)
    assert names.is_name(distribution.project)
    assert distribution.version


def test_name_fits_into_a_file_name() -> None:
    """A name that no file name has room for is none."""
    assert names.is_name("a" * 220)
    assert not names.is_name("a" * 221)


def test_releases_sort_invalid_versions_first() -> None:
    """Releases sort by PEP 440, with versions that PEP 440 does not define first."""
    versions = ["1.10", "2004d", "1.9", "1!0.1", "1.0+local", "1.0.dev1"]
    assert sorted(versions, key=version_key) == [
        "2004d",
        "1.0.dev1",
        "1.0+local",
        "1.9",
        "1.10",
        "1!0.1",
    ]
