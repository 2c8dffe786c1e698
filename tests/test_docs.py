"""Documentation compared with the code.

``python -m tests.test_docs`` renews the page of commands.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from appliance.cli import commands, main
from appliance.render import files
from tests.render.specs import SPECS, load

ROOT = Path(__file__).parent.parent
COMMANDS = ROOT / "docs" / "reference" / "commands.md"


def verbs(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield each command with its name and context, subcommands included."""
    if not isinstance(command, click.Group):
        yield context.command_path, command, context
        return
    for name in command.list_commands(context):
        verb = command.get_command(context, name)
        assert verb is not None
        yield from verbs(verb, click.Context(verb, info_name=name, parent=context))


VERBS = {
    name: (command, context)
    for name, command, context in verbs(
        commands, click.Context(commands, info_name="pyindex", **commands.context_settings)
    )
}


def arguments(name: str) -> list[tuple[str, str]]:
    """Spelling and help of each argument and option of a command."""
    command, context = VERBS[name]
    records = [param.get_help_record(context) for param in command.get_params(context)]
    return [record for record in records if record is not None]


def reference() -> str:
    """Return docs/reference/commands.md, made from the commands."""
    lines = ["# Commands", "", "Written by `python -m tests.test_docs`, from the code.", ""]
    for name, (command, _) in VERBS.items():
        lines += [f"## {name}", "", " ".join((command.help or "").split()), ""]
        lines += ["| argument | description |", "| --- | --- |"]
        lines += [f"| `{spelled}` | {text} |" for spelled, text in arguments(name)]
        lines.append("")
    return "\n".join(lines)


def test_command_reference_matches_commands() -> None:
    """The command reference matches the help of the commands."""
    assert COMMANDS.read_text() == reference(), "run: python -m tests.test_docs"


@pytest.mark.parametrize("name", VERBS)
def test_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has help and explains each argument."""
    assert main([*name.split()[1:], "--help"]) == 0
    assert "Show this message and exit" in capsys.readouterr().out
    assert VERBS[name][0].help
    assert all(text for _, text in arguments(name))


@pytest.mark.parametrize("name", sorted({" ".join(name.split()[:2]) for name in VERBS}))
def test_readme_names_command(name: str) -> None:
    """The README names each command."""
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_exist(page: Path) -> None:
    """Each link to another page names an existing file."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_commands_parse(page: Path) -> None:
    """The parser accepts each `pyindex ...` line of an example."""
    example = r"^(?:    |\$ )(?:\.venv/bin/)?pyindex (.*?)(?: *[#>].*)?$"
    for line in re.findall(example, page.read_text(), re.MULTILINE):
        parse(shlex.split(line))


def parse(words: list[str]) -> None:
    """Parse the words of a command line. Raises UsageError for one that is wrong."""
    command: click.Command | None = commands
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
    assert command is not None
    command.make_context(command.name, words)


@pytest.mark.parametrize("name", SPECS)
def test_host_reference_lists_rendered_files(name: str, tmp_path: Path) -> None:
    """The host reference lists each rendered file with mode and owner."""
    text = (ROOT / "docs" / "reference" / "host.md").read_text()
    for file in files(load(name, tmp_path)):
        owner = file.owner if file.group == "root" else f"{file.owner}:{file.group}"
        row = f"| `{file.path}` | {file.mode:04o} {owner} |"
        assert row in text or file.path == "/etc/supervisord.d/pyindex.ini", row


def test_host_guide_has_spec_of_example_inventory() -> None:
    """The host guide shows first the spec of the example inventory, in ten lines at most."""
    shown, *_ = re.findall(
        "^```yaml\n(.*?)^```$", (ROOT / "docs/guides/host.md").read_text(), re.M | re.S
    )
    example = (ROOT / "ansible/inventories/example/pyindex.yml").read_text()
    assert yaml.safe_load(shown) == yaml.safe_load(example)
    assert len(shown.splitlines()) <= 10


if __name__ == "__main__":
    COMMANDS.write_text(reference())
