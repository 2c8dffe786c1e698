"""``pyindex prove``: whether requirements install from an index alone."""

import click

from appliance.cli.demands import Inputs, input_options
from appliance.cli.options import index_options, json_option
from appliance.cli.output import print_json
from appliance.cli.progress import Progress
from appliance.cli.source import Source, check_index
from appliance.cli.verdicts import facts, print_verdicts


@click.command(short_help="check whether requirements install from an index alone")
@input_options
@click.option("--no-deps", is_flag=True, help="check only what the inputs name")
@index_options
@json_option
def prove(
    source: Source,
    index: str | None,
    inputs: Inputs,
    targets: tuple[str, ...],
    no_deps: bool,
    as_json: bool,
) -> int:
    """Check, without a network, whether the inputs install on each target from an index alone, by
    the rules of each client that runs there: uv, pip, or the last pip of an old Python. Names the
    smallest set of requirements that is missing, and for requirements that exclude each other the
    releases that would help. Exits with 1 if something is missing.
    """
    from appliance.mirror.mirror import Job, verdicts
    from appliance.targets.choice import choose

    demands = inputs.required()
    inputs.print_notes()
    spec = source.load()
    name = index or spec.root
    check_index(spec, name)
    with source.naming_spec():
        chosen = choose(targets, spec)
    with Progress("proving"):
        found = verdicts(Job(spec, name, demands, chosen, no_deps=no_deps))

    if as_json:
        print_json([facts(verdict) for verdict in found])
    else:
        print_verdicts(found)
    return 0 if all(verdict.installs for verdict in found) else 1
