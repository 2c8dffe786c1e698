"""Options of pip in requirements files, parsed as pip does: with optparse, line by line.

Options that only change how pip builds, connects or prints are accepted without effect, also those
that old versions of pip have.
"""

import optparse
import shlex
from dataclasses import dataclass, field
from typing import NoReturn

from packaging.utils import canonicalize_name

from appliance.errors import PyindexError
from appliance.inputs.demand import Options

_ALGORITHMS = ("sha256", "sha384", "sha512")
_FEATURES_IGNORED = ("--use-feature", "--use-deprecated")
_BUILD_IGNORED = ("--global-option", "--install-option", "--build-option")


@dataclass
class Line:
    """The options of one line, as far as they have an effect; ``text`` precedes them."""

    text: str
    editable: str | None = None
    requirements: str | None = None
    constraints: str | None = None
    hashes: frozenset[str] = frozenset()
    index_url: str | None = None
    extra_index_urls: list[str] = field(default_factory=list)
    find_links: str | None = None
    no_index: bool = False
    prefer_binary: bool = False
    pre: bool = False
    require_hashes: bool = False
    trusted_hosts: list[str] = field(default_factory=list)


@dataclass
class Formats:
    """The projects of which only wheels or only sdists count, as the options so far say."""

    only_binary: set[str] = field(default_factory=set)
    no_binary: set[str] = field(default_factory=set)

    def change(self, option: str, value: str) -> None:
        """Apply ``--only-binary`` or ``--no-binary``: names, ``:all:`` and ``:none:``, in order."""
        chosen, other = self.only_binary, self.no_binary
        if option == "--no-binary":
            chosen, other = other, chosen
        names = value.split(",")
        while ":all:" in names:
            chosen.clear()
            other.clear()
            chosen.add(":all:")
            del names[: names.index(":all:") + 1]
            if ":none:" not in names:
                return  # `:all:` includes the others
        for name in names:
            _change(name, chosen, other)


def _change(name: str, chosen: set[str], other: set[str]) -> None:
    if name == ":none:":
        chosen.clear()
        return
    project = canonicalize_name(name)
    other.discard(project)
    chosen.add(project)


class _Parser(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        raise ValueError(msg)


def parse_line(line: str, formats: Formats, origin: str) -> Line:
    """The requirement and the options of a logical line. ``--only-binary`` and ``--no-binary``
    change ``formats``, even next to a requirement. Raises :class:`PyindexError`.
    """
    text, words = _split(line)
    parser = _parser(formats)
    try:
        values, _ = parser.parse_args(shlex.split(words))
    except ValueError as error:
        reason = str(error)[:1].lower() + str(error)[1:]
        raise PyindexError(f"{origin}: {reason}; correct or remove the option") from None

    return Line(
        text,
        editable=_first(values.editable),
        requirements=_first(values.requirements),
        constraints=_first(values.constraints),
        hashes=frozenset(values.hashes),
        index_url=values.index_url,
        extra_index_urls=values.extra_index_urls,
        find_links=_first(values.find_links),
        no_index=values.no_index,
        prefer_binary=values.prefer_binary,
        pre=values.pre,
        require_hashes=values.require_hashes,
        trusted_hosts=values.trusted_hosts,
    )


def _first(values: list[str]) -> str | None:
    return values[0] if values else None


def _split(line: str) -> tuple[str, str]:
    """The requirement and the options. Only the options are words of a shell: quotes in a marker
    must stay."""
    words = line.split(" ")
    count = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return " ".join(words[:count]), " ".join(words[count:])


def _parser(formats: Formats) -> _Parser:
    parser = _Parser(add_help_option=False)
    for names, destination in (
        (("-r", "--requirement"), "requirements"),
        (("-c", "--constraint"), "constraints"),
        (("-e", "--editable"), "editable"),
        (("-f", "--find-links"), "find_links"),
        (("--extra-index-url",), "extra_index_urls"),
        (("--trusted-host",), "trusted_hosts"),
    ):
        parser.add_option(*names, dest=destination, action="append", default=[])
    parser.add_option("-i", "--index-url", "--pypi-url", dest="index_url")
    for name in ("--no-index", "--prefer-binary", "--pre", "--require-hashes"):
        parser.add_option(name, action="store_true", default=False)
    parser.add_option("--hash", dest="hashes", action="callback", callback=_add_hash, type="str")
    parser.set_default("hashes", [])
    _add_formats(parser, formats)
    _add_releases(parser)
    _add_ignored(parser)
    return parser


def _add_formats(parser: _Parser, formats: Formats) -> None:
    def change(_option: optparse.Option, name: str, value: str, _parser: object) -> None:
        if value.startswith("-"):
            raise ValueError(f"{name} option requires 1 argument")
        formats.change(name, value)

    for name in ("--only-binary", "--no-binary"):
        parser.add_option(name, action="callback", callback=change, type="str")


def _add_releases(parser: _Parser) -> None:
    """Options of pip 26; of single projects they have no counterpart in :class:`Options`."""

    def select(_option: optparse.Option, name: str, value: str, owner: _Parser) -> None:
        if name != "--all-releases" or value != ":all:":
            raise ValueError(f"{name} {value} is not supported")
        assert owner.values is not None
        owner.values.pre = True

    for name in ("--all-releases", "--only-final"):
        parser.add_option(name, action="callback", callback=select, type="str")


def _add_ignored(parser: _Parser) -> None:
    parser.add_option("--no-require-hashes", action="store_true")
    for name in (*_FEATURES_IGNORED, *_BUILD_IGNORED):
        parser.add_option(name, action="append")
    parser.add_option(
        "-C",
        "--config-settings",
        "--config-setting",
        action="callback",
        callback=_check_setting,
        type="str",
    )


def _check_setting(_option: optparse.Option, name: str, value: str, _parser: object) -> None:
    if "=" not in value:
        raise ValueError(f"{name} must be of the form KEY=VALUE, got {value!r}")


def _add_hash(_option: optparse.Option, name: str, value: str, parser: _Parser) -> None:
    algorithm, colon, digest = value.partition(":")
    if not colon:
        raise ValueError(f"{name} must be of the form sha256:DIGEST, got {value!r}")
    if algorithm not in _ALGORITHMS:
        allowed = ", ".join(_ALGORITHMS)
        raise ValueError(f"expected an algorithm of {allowed} for {name}, got {algorithm!r}")
    assert parser.values is not None
    parser.values.hashes = [*parser.values.hashes, f"{algorithm}:{digest.lower()}"]


def combine(
    indexes: list[str | None], lines: list[Line], formats: Formats, find_links: list[str]
) -> Options:
    """The options of all lines. ``indexes`` are the index, ``None`` for the default one, and the
    extra ones."""
    index_url, *extras = indexes or [None]
    return Options(
        index_url=index_url,
        extra_index_urls=tuple(url for url in extras if url),
        find_links=tuple(find_links),
        no_index=any(line.no_index for line in lines),
        only_binary=frozenset(formats.only_binary),
        no_binary=frozenset(formats.no_binary),
        prefer_binary=any(line.prefer_binary for line in lines),
        pre=any(line.pre for line in lines),
        require_hashes=any(line.require_hashes for line in lines),
        trusted_hosts=tuple(dict.fromkeys(host for line in lines for host in line.trusted_hosts)),
    )
