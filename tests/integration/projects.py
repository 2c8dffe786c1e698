"""Small projects of the index under test, each for one rule."""

from pathlib import Path

from tests.dist import make_sdist, make_wheel, uploaded

SUMMARY = "Shows what a fortnight is"
YANK_REASON = "breaks <everything> & more"


def make_projects(directory: Path) -> None:
    """Write the projects' files into *directory*."""
    make_wheel(directory, "demo", "1.0")
    make_wheel(
        directory,
        "demo",
        "1.1",
        requires=["Demo_Base (>=1.0,<2)"],
        summary="Shows what a fortnight is",
    )
    for version in ("1.0", "1.5", "2.0"):
        make_wheel(directory, "Demo_Base", version)
    make_sdist(directory, "Old.Sdist", "1.0", requires=["demo_base<2"])
    make_wheel(directory, "choosy", "1.0", requires_python=">=2.7")
    make_wheel(directory, "choosy", "2.0", requires_python=">=4")
    make_wheel(directory, "retracted", "1.0")
    make_wheel(directory, "retracted", "1.1")
    make_wheel(directory, "bar.demo", "1.0")
    make_wheel(directory, "local-demo", "1.0")
    make_wheel(directory, "local-demo", "1.0+cpu.1")
    uploaded(make_wheel(directory, "dated", "1.0"), "2020-01-01T12:00:00Z")
    uploaded(make_wheel(directory, "dated", "2.0"), "2024-01-01T12:00:00Z")
    lines = "".join(f"# line {number:>70}\n" for number in range(50_000))
    make_wheel(directory, "large", "1.0", modules={"large": f"{lines}__version__ = '1.0'\n"})
