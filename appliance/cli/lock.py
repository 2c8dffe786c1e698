"""``pyindex lock rewrite``: URLs of locks, to this index and back."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import FILE, index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.source import Source, check_index
from appliance.errors import PyindexError
from appliance.text import counted

if TYPE_CHECKING:
    from appliance.inputs.rewrite import Index
    from appliance.spec import Spec


@click.group(short_help="rewrite the URLs of locks to this index and back")
def lock() -> None:
    """Work with locks of uv, Poetry and pip."""


@lock.command(short_help="rewrite the URLs of locks to this index and back")
@click.argument(
    "locks",
    metavar="LOCK...",
    nargs=-1,
    required=True,
    type=FILE,
    help="locks: uv.lock, pylock.toml, poetry.lock or requirements files",
)
@index_options
@click.option("--to", metavar="URL", help="URL of the index (default: from the spec)")
@click.option("--back", is_flag=True, help="restore the URLs from before")
@click.option("-o", "--output", metavar="OUT", type=FILE, help="file to write (default: LOCK)")
@json_option
def rewrite(
    locks: tuple[Path, ...],
    source: Source,
    index: str | None,
    to: str | None,
    back: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Replace the URLs of indexes and files in locks by those of this index; digests, comments and
    order stay. LOCK.pyindex-origin keeps the URLs from before, and `--back` restores them exactly.
    """
    if output is not None and len(locks) > 1:
        raise click.UsageError("got -o and more than one LOCK; pass only one LOCK")
    if back and to:
        raise click.UsageError("got --to and --back; pass only one of them")

    target = None if back else _target(source, index, to)
    results = [_rewrite(path, output or path, target) for path in locks]
    if as_json:
        print_json(results)
    else:
        for result in results:
            print(_sentence(result))


def _rewrite(path: Path, output: Path, index: "Index | None") -> dict[str, Any]:
    """Rewrite one lock; returns what changed."""
    from appliance.inputs import rewrite

    if index is None:
        text = rewrite.restore(path)
        rewrite.write_restored(path, output, text)
        return {"lock": str(path), "output": str(output), "restored": True}

    rewritten = rewrite.rewrite(path, index)
    rewrite.write(path, output, rewritten)
    return {
        "lock": str(path),
        "output": str(output),
        "replaced": len(rewritten.replacements),
        "unknown": list(rewritten.unknown),
        "packages": index.packages,
        "searched": index.locate is not None,
    }


def _sentence(result: dict[str, Any]) -> str:
    if result.get("restored"):
        return f"{result['output']}: restored"
    text = f"{result['output']}: {result['replaced']} URLs replaced"
    if unknown := result["unknown"]:
        names = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        what = "not found in the index" if result["searched"] else "not searched without a spec"
        where = f"their URLs are {result['packages']}NAME"
        text += f"; {what}: {counted(len(unknown), 'file')} ({names}); {where}"
    return text


def _target(source: Source, index: str | None, to: str | None) -> "Index":
    """The index from the spec, or the one that ``--to`` names, whose catalog is not at hand."""
    from appliance.inputs.rewrite import Index

    if to is not None and source == Source():
        if index is not None:
            raise click.UsageError("got --index and no spec; add the name to the URL of --to")
        return Index(_base(to))

    spec = source.load()
    name = index or spec.root
    check_index(spec, name)
    base = _base(to or spec.url or "")
    if not base:
        raise PyindexError("the spec has no `url`; pass --to URL")
    url = f"{base}/{spec.prefix(name)}".rstrip("/")
    return Index(url, partial(_locate, spec, name, base))


def _locate(spec: "Spec", index: str, base: str, filenames: list[str]) -> Mapping[str, str]:
    from appliance.inputs.served import file_urls

    return file_urls(spec, index, base, filenames)


def _base(url: str) -> str:
    """The URL of an index without the path of its project list."""
    if url and not url.startswith(("http://", "https://")):
        raise click.UsageError(f"expected a URL for --to, got {url!r}")
    return url.rstrip("/").removesuffix("/simple")
