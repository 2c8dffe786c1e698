"""Requirements files: the same requirements and options as pip reads from them."""

import codecs
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from pip._internal.index.collector import LinkCollector
from pip._internal.index.package_finder import PackageFinder
from pip._internal.models.search_scope import SearchScope
from pip._internal.models.selection_prefs import SelectionPreferences
from pip._internal.network.session import PipSession
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import parse_requirements

from appliance.errors import PyindexError
from appliance.inputs.demand import Demand, Wanted
from appliance.inputs.reading import from_arguments, read

WHEEL = "https://files.example/foo-1.0-py3-none-any.whl"
HASH = "sha256:" + "ab" * 32
GALAXY = Path(__file__).parents[1] / "data" / "galaxy-18.05-py27.txt"

SESSION = PipSession()  # slow to construct

# Texts that pip reads, and what is wrong if ours differ.
TEXTS = {
    "plain": "foo\nbar==1.0\nBaz_Qux>=1,<2 ; python_version < '3'\n",
    "comments": "# one\nfoo # two\nbar\n  # four\nbaz==1 #five\n",
    "continuation": "foo==1 \\\n  --hash=" + HASH + " \\\n  --hash=sha384:cd\nbar\\\n>=2\n",
    "comment in continuation": "foo \\\n# no\nbar\n",
    "continuation at end": "foo\nbar==1\\",
    "crlf": "foo==1\r\n-i https://index.example/simple\r\nbar\r\n",
    "form feed": "foo\x0cbar\n",
    "variables": "foo==${INPUTS_VERSION}\nbar @ https://files.example/${INPUTS_UNSET}/bar-1.tar.gz\n",
    "index": "-i https://a.example/simple\n--extra-index-url https://b.example/simple\nfoo\n",
    "index after extra": "--extra-index-url https://b.example/s\n--index-url=https://a.example/s\n",
    "two indexes": "-ihttps://a.example/s\n--pypi-url https://b.example/s\n",
    "no index": "-i https://a.example/s\n--no-index\n--extra-index-url https://b.example/s\nfoo\n",
    "both on one line": "--index-url https://a.example/s --extra-index-url https://b.example/s\n",
    "find links": "-f links\n--find-links https://files.example/\n-f missing\n",
    "abbreviation": "--extra-index https://b.example/s\n--find https://files.example/\n",
    "formats": "--only-binary :all:\n--no-binary foo,Bar_Baz\nfoo\n",
    "formats in order": "--no-binary :all:\n--only-binary foo\n--only-binary :none:\nfoo\n",
    "formats of a requirement": "foo --only-binary foo\nbar\n",
    "all then names": "--no-binary foo,:all:,bar\n--only-binary :all:,:none:,foo\n",
    "switches": "--pre\n--prefer-binary\n--require-hashes\nfoo==1 --hash=" + HASH + "\n",
    "feature": "--use-feature fast-deps\n--trusted-host a.example:8080\nfoo\n",
    "settings": "foo --config-settings x=1 -C y=2\n",
    "option before requirement": "--pre foo\n",
    "extras": "foo[a,b]==1\nbar [c] >= 2\n",
    "url": f"foo @ {WHEEL}\nbar[x] @ https://files.example/bar-2.tar.gz ; os_name == 'nt'\n",
    "plain url": f"{WHEEL}\nhttps://files.example/bar-1-py3-none-any.whl ; os_name == 'nt'\n",
    "url with digest": f"foo @ {WHEEL}#{HASH.replace(':', '=')}\n",
    "plain url with digest": f"{WHEEL}#{HASH.replace(':', '=')}\n",
    "url with plus": "https://files.example/foo-1.0%2Bcpu-py3-none-any.whl\n",
    "path": "./wheels/foo-1.0-py3-none-any.whl\nwheels/foo-1.0-py3-none-any.whl[x]\n",
    "file url": "file:wheels/foo-1.0-py3-none-any.whl\n",
    "nested": "-r sub/inner.txt\n-c sub/limits.txt\nfoo\n",
    "nested twice": "-r sub/inner.txt\n--requirement=sub/inner.txt\n-rsub/inner.txt\n",
    "arbitrary": "foo===1.0-weird\nbar!=1.*,~=2.1\n",
    "two of one": "foo>=1\nfoo<2\nfoo[x]\nfoo==1.5 ; os_name == 'nt'\n",
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with files that the texts name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPUTS_VERSION", "1.2")
    for name in ("links", "wheels", "sub"):
        (tmp_path / name).mkdir()
    (tmp_path / "wheels" / "foo-1.0-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "sub" / "inner.txt").write_text("inner==1\n-r deeper.txt\n-f ../links\n")
    (tmp_path / "sub" / "deeper.txt").write_text("deeper\n")
    (tmp_path / "sub" / "limits.txt").write_text("foo<3\n-r deeper.txt\n")
    return tmp_path


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_requirements_equal_those_of_pip(text: str, directory: Path) -> None:
    """A file has the requirements, constraints, digests and options that pip finds in it."""
    path = directory / "requirements.txt"
    path.write_bytes(text.encode())
    assert ours(read(path)) == of_pip(path)


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + b"foo==1\n",
        codecs.BOM_UTF16_LE + "foo==1 # é\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "foo==1 # é\n".encode("utf-16-be"),
        "# coding: latin-1\nfoo==1 # é\n".encode("latin-1"),
        "#!/x\n# -*- coding: cp1251 -*-\nfoo==1 # ж\n".encode("cp1251"),
        "foo==1 # é\n".encode(),
        b"",
    ],
)
def test_encodings_are_those_of_pip(content: bytes, directory: Path) -> None:
    """The encoding is that of the BOM, of a comment in the first two lines, or UTF-8."""
    path = directory / "requirements.txt"
    path.write_bytes(content)
    assert ours(read(path)) == of_pip(path)


def test_bom_of_utf_32_is_recognized(directory: Path) -> None:
    """UTF-32 is told from UTF-16, whose BOM is the beginning of its own; pip before 24 fails."""
    path = directory / "requirements.txt"
    path.write_bytes(codecs.BOM_UTF32_LE + "foo==1\n".encode("utf-32-le"))
    assert [str(each.requirement) for each in read(path).requirements] == ["foo==1"]


def test_real_file_equals_pip() -> None:
    """The requirements of a real project are those that pip reads."""
    assert ours(read(GALAXY)) == of_pip(GALAXY)


def ours(demand: Demand) -> dict[str, object]:
    """What a demand has, in the form of :func:`of_pip`."""
    options = demand.options
    return {
        "requirements": sorted(map(_described, demand.requirements)),
        "constraints": sorted(map(_described, demand.constraints)),
        "indexes": [options.index_url, *options.extra_index_urls],
        "find_links": list(options.find_links),
        "no_index": options.no_index,
        "formats": [set(options.only_binary), set(options.no_binary)],
        "switches": [options.prefer_binary, options.pre],
    }


def _described(wanted: Wanted) -> str:
    requirement = wanted.requirement
    parts = [requirement.name.lower().replace("_", "-"), str(requirement.marker)]
    parts += [str(sorted(requirement.extras)), str(sorted(wanted.hashes))]
    return " ".join([*parts, requirement.url or str(requirement.specifier)])


def of_pip(path: Path) -> dict[str, object]:
    """What pip finds in a file; requirements of one project and marker are merged as its resolver
    does."""
    finder = _finder()
    wanted: dict[bool, dict[tuple[str, str], Wanted]] = {False: {}, True: {}}
    for parsed in parse_requirements(str(path), SESSION, finder=finder):
        install = install_req_from_parsed_requirement(parsed)
        assert install.req is not None
        hashes = {f"{name}:{d}" for name, ds in install.hash_options.items() for d in ds}
        requirement = Requirement(str(install.req))
        if install.link is not None:
            requirement.url, requirement.extras = install.link.url, set(install.extras)
            if install.link.hash:
                hashes.add(f"{install.link.hash_name}:{install.link.hash}")
        requirement.marker = Marker(str(install.markers)) if install.markers else None
        key = requirement.name.lower().replace("_", "-"), str(requirement.marker)
        mentions = wanted[install.constraint]
        if key in mentions:
            requirement.specifier &= mentions[key].requirement.specifier
            requirement.extras |= mentions[key].requirement.extras
        mentions[key] = Wanted(requirement, "", frozenset(hashes))

    is_off = finder.search_scope.no_index
    control = finder.format_control
    indexes: list[str | None] = list(finder.index_urls)
    has_default = indexes[:1] == ["https://default.example/simple"]
    return {
        "requirements": sorted(map(_described, wanted[False].values())),
        "constraints": sorted(map(_described, wanted[True].values())),
        "indexes": [None, *indexes[1:]] if has_default or is_off else indexes,
        "find_links": [_location(link) for link in finder.find_links],
        "no_index": is_off,
        "formats": [control.only_binary, control.no_binary],
        "switches": [finder.prefer_binary, _has_pre(finder)],
    }


def _has_pre(finder: PackageFinder) -> bool:
    """Whether pre-releases count; pip 26 has them in another attribute."""
    control = getattr(finder, "release_control", None)
    if control is not None:
        return ":all:" in control.all_releases
    return bool(getattr(finder, "allow_all_prereleases", False))


def _location(link: str) -> str:
    return link if "://" in link else str(Path.cwd() / link)


def _finder() -> PackageFinder:
    scope = SearchScope.create([], ["https://default.example/simple"], no_index=False)
    return PackageFinder.create(
        link_collector=LinkCollector(SESSION, scope),
        selection_prefs=SelectionPreferences(allow_yanked=True),
    )


ERRORS = {
    "foo bar\n": (
        "requirements.txt:1: 'foo bar': expected semicolon (after name with no version specifier)"
    ),
    "foo=1\n": "requirements.txt:1: 'foo=1': ",
    "\n\n--fooo x\n": "requirements.txt:3: no such option: --fooo; correct or remove the option",
    "-r\n": "requirements.txt:1: -r option requires 1 argument; correct or remove the option",
    "foo --hash=md5:00\n": (
        "requirements.txt:1: expected an algorithm of sha256, sha384, sha512 for --hash, got 'md5';"
        " correct or remove the option"
    ),
    "foo --hash=00\n": (
        "requirements.txt:1: --hash must be of the form sha256:DIGEST, got '00'; correct or remove"
        " the option"
    ),
    "-r https://files.example/r.txt\n": (
        "requirements.txt:1: https://files.example/r.txt is not a file of this machine; download it"
        " and name the file"
    ),
    "foo\n-r missing.txt\n": "missing.txt: not found; correct the path",
    "-r requirements.txt\n": (
        "requirements.txt:1: requirements.txt includes itself; remove this line"
    ),
    "-e .\n": (
        "requirements.txt:1: '-e .' names a directory, which must be built; replace it by a wheel,"
        " or mirror it with --build "
    ),
    "./sub\n": (
        "requirements.txt:1: './sub' names a directory, which must be built; replace it by a wheel,"
        " or mirror it with --build sub"
    ),
    "foo @ git+https://git.example/foo@v1\n": (
        "requirements.txt:1: 'foo @ git+https://git.example/foo@v1' names a Git repository, which"
        " must be built; replace it by a wheel, or mirror it with --build foo"
    ),
    "-e hg+https://hg.example/x#egg=foo\nfoo @ https://git.example/foo/archive/main.zip\n": (
        "requirements.txt:1: '-e hg+https://hg.example/x#egg=foo' names a hg repository, which must"
        " be built; replace it by a wheel, or mirror it with --build foo\n"
        "requirements.txt:2: 'foo @ https://git.example/foo/archive/main.zip' names an archive"
        " whose name is not NAME-VERSION, which must be built; replace it by a wheel, or mirror it"
        " with --build foo"
    ),
    "git+https://git.example/r#egg=foo[bad extra]\n": (
        "requirements.txt:1: expected #egg=NAME or #egg=NAME[EXTRA], got 'foo[bad extra]'; correct"
        " it"
    ),
    "./none-1.0-py3-none-any.whl\n": "/none-1.0-py3-none-any.whl: not found; correct the path",
    "https://files.example/foo-1.0.whl\n": (
        "requirements.txt:1: foo-1.0.whl: not the name of a wheel; correct the name or the URL"
    ),
    "-c sub/bad.txt\n": "sub/bad.txt:1: a constraint with extras, foo[x]<1; remove the extras",
    "-c sub/local.txt\n": (
        "sub/local.txt:1: '-e .' is a directory, which cannot be a constraint; remove the line"
    ),
    "foo==1 --hash=sha256:aa\nfoo==1 --hash=sha256:bb\n": (
        "requirements.txt:2: foo has no digest in common with requirements.txt:1; remove one of the"
        " two lines"
    ),
    "foo --config-settings x\n": (
        "requirements.txt:1: --config-settings must be of the form KEY=VALUE, got 'x'; correct or"
        " remove the option"
    ),
    "foo --global-option='\n": (
        "requirements.txt:1: no closing quotation; correct or remove the option"
    ),
}


@pytest.mark.parametrize("text", ERRORS)
def test_error_names_line_and_reason(text: str, directory: Path) -> None:
    """What cannot be read is an error that names the file, the line and what to do."""
    (directory / "sub" / "bad.txt").write_text("foo[x]<1\n")
    (directory / "sub" / "local.txt").write_text("-e .\n")
    path = Path("requirements.txt")
    path.write_text(text)
    with pytest.raises(PyindexError) as raised:
        read(path)
    assert ERRORS[text].lower() in str(raised.value).lower()


def test_undecodable_file_is_error(directory: Path) -> None:
    """A file that is not UTF-8 and names no encoding is an error with the line."""
    Path("requirements.txt").write_bytes(b"foo\n# \xe9\n")
    with pytest.raises(PyindexError) as raised:
        read(Path("requirements.txt"))
    expected = "requirements.txt:2: not utf-8; save it as UTF-8, or begin it with `# coding: NAME`"
    assert str(raised.value) == expected


def test_unbuilt_requirements_are_kept_on_request(directory: Path) -> None:
    """Requirements that must be built stay in the demand if the caller builds them."""
    Path("requirements.txt").write_text("foo\n-e ./sub\n")
    demand = read(Path("requirements.txt"), builds=["sub"])
    assert [str(each.requirement) for each in demand.requirements] == ["foo"]
    assert [(each.line, each.origin) for each in demand.unbuilt] == [
        ("-e ./sub", "requirements.txt:2")
    ]


UNBUILT = {
    "foo[x] @ git+https://git.example/r@v1 ; os_name == 'nt'": (
        *("foo", "git+https://git.example/r@v1", "[x]", ' ; os_name == "nt"'),
    ),
    "-e git+https://git.example/a/My_Lib.git@v1#subdirectory=src": (
        *("my-lib", "git+https://git.example/a/My_Lib.git@v1#subdirectory=src", "", ""),
    ),
    "git+https://git.example/r@a/b#egg=Foo.Bar[x]&subdirectory=y": (
        *("foo-bar", "git+https://git.example/r@a/b#egg=Foo.Bar[x]&subdirectory=y", "[x]", ""),
    ),
    "git+ssh://git@git.example/r": ("r", "git+ssh://git@git.example/r", "", ""),
    "./sub": ("sub", "file://{here}/sub", "", ""),
    "-e ./sub[x,y]": ("sub", "file://{here}/sub", "[x,y]", ""),
    "./named ; os_name == 'nt'": ("stated", "file://{here}/named", "", " ; os_name == 'nt'"),
    "./configured": ("of-setup-cfg", "file://{here}/configured", "", ""),
    "./both": ("of-setup-cfg", "file://{here}/both", "", ""),
    "./broken": ("broken", "file://{here}/broken", "", ""),
    "other @ file://{here}/named": ("other", "file://{here}/named", "", ""),
}


@pytest.mark.parametrize("line", UNBUILT)
def test_unbuilt_requirement_has_a_name_and_a_location(line: str, directory: Path) -> None:
    """What must be built is known by the name that is written, else by the stated one, else by
    that of its directory or repository."""
    files = {
        "named/pyproject.toml": "[project]\nname = 'Stated'\n",
        "configured/setup.cfg": "[metadata]\nname = of_setup.cfg\n",
        "both/pyproject.toml": "[build-system]\nrequires = ['setuptools']\n",
        "both/setup.cfg": "[metadata]\nname = of_setup.cfg\n",
        "broken/pyproject.toml": "[project\n",
    }
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    project, location, extras, marker = UNBUILT[line]
    Path("requirements.txt").write_text(line.format(here=directory))
    (unbuilt,) = read(Path("requirements.txt"), builds=[project]).unbuilt
    assert (unbuilt.project, unbuilt.location) == (project, location.format(here=directory))
    assert (unbuilt.extras, unbuilt.marker) == (extras, marker)


def test_arguments_are_requirements(directory: Path) -> None:
    """Specifiers, URLs and paths on the command line are requirements."""
    demand = from_arguments(["foo>=1", "foo<2", "wheels/foo-1.0-py3-none-any.whl; os_name=='nt'"])
    assert [str(each.requirement) for each in demand.requirements] == [
        "foo<2,>=1",
        f'foo @ file://{directory}/wheels/foo-1.0-py3-none-any.whl ; os_name == "nt"',
    ]
    assert {each.origin for each in demand.requirements} == {"command line"}


def test_constraints_are_added(directory: Path) -> None:
    """Files of constraints limit any input."""
    limits = directory / "sub" / "limits.txt"
    demand = from_arguments(["foo"], constraints=[limits])
    assert [str(each.requirement) for each in demand.constraints] == ["foo<3"]
