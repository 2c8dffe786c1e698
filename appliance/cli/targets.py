"""``pyindex targets``: the targets of a spec and all presets, or the ones that are named."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.options import json_option, source_options
from appliance.cli.output import print_error, print_json
from appliance.cli.source import Source
from appliance.errors import PyindexError

if TYPE_CHECKING:
    from appliance.spec import Spec
    from appliance.targets.target import Target


@click.command(short_help="show the Pythons and platforms that files are collected for")
@click.argument("texts", metavar="[TARGET...]", nargs=-1, help="targets to show")
@click.option("--tags", "with_tags", is_flag=True, help="print the tags of wheels, best first")
@click.option("--markers", is_flag=True, help="print the environment of markers (PEP 508)")
@click.option("--ask-again", is_flag=True, help="ask the hosts of ssh:HOST again")
@source_options
@json_option
def targets(
    source: Source,
    texts: tuple[str, ...],
    with_tags: bool,
    markers: bool,
    ask_again: bool,
    as_json: bool,
) -> int:
    """Show the targets from the spec and all presets, or each TARGET: a name there, a preset,
    INTERPRETER-PLATFORM such as cp312-win_amd64, python:PATH or ssh:HOST[:PYTHON]. Exits with 1 if
    one of them is no target or does not answer.
    """
    from appliance.targets.presets import PRESETS

    spec = source.load_if_any()
    every = (*((spec and spec.targets) or ()), *PRESETS)
    chosen = list(_chosen(source, spec, dict.fromkeys(texts or every), ask_again))

    facts = [_facts(target, with_tags, markers) for target in chosen if target]
    if as_json:
        print_json(facts)
    elif with_tags or markers:
        _print_details(facts)
    else:
        _print_table(facts)
    return 1 if None in chosen else 0


def _chosen(
    source: Source, spec: "Spec | None", texts: Iterable[str], renew: bool
) -> "Iterator[Target | None]":
    """Each target, or ``None`` after the error has been printed: a host that is away hides no
    other target."""
    from appliance.targets.choice import choose

    for text in texts:
        try:
            with source.naming_spec():
                yield from choose([text], spec, renew)
        except PyindexError as error:
            print_error(str(error))
            yield None


def _facts(target: "Target", with_tags: bool, markers: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": target.name,
        "interpreter": target.interpreter,
        "python": target.python,
        "platform": target.platform,
        "number_of_tags": len(target.tags),
    }
    if with_tags:
        facts["tags"] = [str(tag) for tag in target.tags]
    if markers:
        facts["markers"] = dict(target.environment)
    return facts


def _print_table(facts: list[dict[str, Any]]) -> None:
    width = max((len(target["name"]) for target in facts), default=0)
    for target in facts:
        name, python = target["name"].ljust(width), f"Python {target['python']}"
        shown = f"{name}  {target['interpreter']:7} {python:15}  {target['platform']:24}"
        print(f"{shown} {target['number_of_tags']:4} tags")


def _print_details(facts: list[dict[str, Any]]) -> None:
    """Print tags and markers, those of several targets below their names."""
    for target in facts:
        if len(facts) > 1:
            print(f"{target['name']}:")
        for name, value in target.get("markers", {}).items():
            print(f"{name}={value}")
        print(*target.get("tags", ()), sep="\n", end="\n" if "tags" in target else "")
