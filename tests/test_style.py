"""Style of the pages: phrases of docs/style.md and links to headings.

``python -m tests.test_style`` lists the lines of code, templates and playbooks that break it.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "style.md"
GENERATED = [
    (ROOT / "docs/reference/commands.md", re.compile(".*", re.S)),
    (ROOT / "docs/reference/spec.md", re.compile("<!-- reference:.*?<!-- /reference -->", re.S)),
    (ROOT / "CONTRIBUTING.md", re.compile("## The layers.*?(?=^## )", re.S | re.M)),
]
LITERAL = re.compile("^```.*?^```$|^    .*?$|`[^`\n]*`", re.S | re.M)


def pages() -> list[Path]:
    return sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {GUIDE})


def phrases() -> list[str]:
    """Return the first column of the guide's table of phrases to avoid."""
    _, _, table = GUIDE.read_text().partition("## Phrases to avoid")
    return re.findall(r"^\| (?!instead of|---)(.*?) \|", table, re.M)


def prose(page: Path) -> str:
    """Return the text of a page on one line, without generated parts, code and quoted output."""
    text = page.read_text()
    for generated, part in GENERATED:
        text = part.sub("", text) if page == generated else text
    return " ".join(LITERAL.sub("", text).split())


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_avoid_phrases(page: Path) -> None:
    """A page contains no phrase that the guide replaces."""
    text = prose(page)
    used = [
        phrase for phrase in phrases() if re.search(rf"\b{re.escape(phrase)}(?!\w)", text, re.I)
    ]
    assert not used, f"docs/style.md says what to write instead of {used}"


def anchors(page: Path) -> set[str]:
    """Return the fragments of a page's headings, as GitHub makes them."""
    headings = re.findall("^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*pages(), GUIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_exist(page: Path) -> None:
    """A link with a fragment leads to a heading of the page."""
    for target, fragment in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        assert fragment in anchors(page.parent / target if target else page)


def test_readme_names_tests_that_exist() -> None:
    """The README names only tests and directories of tests that exist."""
    table = (ROOT / "README.md").read_text().partition("## Compared")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/.]+)` \|$", table, re.M)
    assert len(named) > 10
    assert all((ROOT / "tests" / path).exists() for path in named)


def lines_to_reword() -> Iterator[str]:
    """Yield each line of code, templates and playbooks with a phrase that the guide replaces."""
    listed = subprocess.check_output(
        ["git", "ls-files", "appliance", "deploy", "ansible"], cwd=ROOT
    )
    used = re.compile("|".join(rf"\b{re.escape(phrase)}(?!\w)" for phrase in phrases()), re.I)

    for name in listed.decode().split():
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            if match := used.search(line):
                yield f"{name}:{number}: {match[0]}: {line.strip()}"


if __name__ == "__main__":
    print(*lines_to_reword(), sep="\n")
