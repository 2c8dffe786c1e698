"""Documentation compared with the code.

``python -m tests.test_docs`` renews the page of commands.
"""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from appliance.cli import main, parser
from appliance.render import files
from tests.render.specs import SPECS, load

ROOT = Path(__file__).parent.parent
COMMANDS = ROOT / "docs" / "reference" / "commands.md"


def verbs(top: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command with its parser, subcommands included."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from verbs(below, f"{name} {word}")
            return
    yield name, top


VERBS = dict(verbs(parser(), "pyindex"))


def reference() -> str:
    """Return docs/reference/commands.md, made from the parsers."""
    lines = ["# Commands", "", "Written by `python -m tests.test_docs`, from the code.", ""]
    for name, command in VERBS.items():
        lines += [
            f"## {name}",
            "",
            command.description or "",
            "",
            "| argument | |",
            "| --- | --- |",
        ]
        for action in command._actions:
            text = (action.help or "") % (vars(action) | {"prog": "pyindex"})
            lines.append(f"| `{spelling(action)}` | {text.replace('|', ' or ')} |")
        lines.append("")
    return "\n".join(lines)


def spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        name = str(action.metavar or action.dest)
        return f"[{name}]" if action.nargs == "?" else name
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(action.option_strings) + value


def test_command_reference_matches_parsers() -> None:
    """The command reference matches the parsers."""
    assert COMMANDS.read_text() == reference(), "run: python -m tests.test_docs"


@pytest.mark.parametrize("name", VERBS)
def test_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has help and explains each argument."""
    with pytest.raises(SystemExit) as ended:
        main([*name.split()[1:], "--help"])
    assert ended.value.code == 0
    assert "show this help message" in capsys.readouterr().out
    assert VERBS[name].description
    assert all(action.help for action in VERBS[name]._actions)


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
        parser().parse_args(shlex.split(line))


@pytest.mark.parametrize("name", SPECS)
def test_host_reference_lists_rendered_files(name: str, tmp_path: Path) -> None:
    """The host reference lists each rendered file with mode and owner."""
    text = (ROOT / "docs" / "reference" / "host.md").read_text()
    for file in files(load(name, tmp_path)):
        owner = file.owner if file.group == "root" else f"{file.owner}:{file.group}"
        row = f"| `{file.path}` | {file.mode:04o} {owner} |"
        assert row in text or file.path == "/etc/supervisord.d/pyindex.ini", row


def test_host_guide_has_spec_of_example_inventory() -> None:
    """The host guide shows the spec of the example inventory in ten lines at most."""
    (shown,) = re.findall(
        "^```yaml\n(.*?)^```$", (ROOT / "docs/guides/host.md").read_text(), re.M | re.S
    )
    example = (ROOT / "ansible/inventories/example/pyindex.yml").read_text()
    assert yaml.safe_load(shown) == yaml.safe_load(example)
    assert len(shown.splitlines()) <= 10


if __name__ == "__main__":
    COMMANDS.write_text(reference())
