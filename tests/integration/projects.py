"""Small projects of the index under test, each for one rule."""

from pathlib import Path

from tests.dist import make_sdist, make_wheel, uploaded

SUMMARY = "Shows what a fortnight is"
YANK_REASON = "breaks <everything> & more"


def make_projects(folder: Path) -> None:
    """Write the projects' files into *folder*."""
    make_wheel(folder, "demo", "1.0")
    make_wheel(
        folder,
        "demo",
        "1.1",
        requires=["Demo_Base (>=1.0,<2)"],
        summary="Shows what a fortnight is",
    )
    for version in ("1.0", "1.5", "2.0"):
        make_wheel(folder, "Demo_Base", version)
    make_sdist(folder, "Old.Sdist", "1.0", requires=["demo_base<2"])
    make_wheel(folder, "choosy", "1.0", requires_python=">=2.7")
    make_wheel(folder, "choosy", "2.0", requires_python=">=4")
    make_wheel(folder, "retracted", "1.0")
    make_wheel(folder, "retracted", "1.1")
    make_wheel(folder, "bar.demo", "1.0")
    make_wheel(folder, "local-demo", "1.0")
    make_wheel(folder, "local-demo", "1.0+cpu.1")
    uploaded(make_wheel(folder, "dated", "1.0"), "2020-01-01T12:00:00Z")
    uploaded(make_wheel(folder, "dated", "2.0"), "2024-01-01T12:00:00Z")
    lines = "".join(f"# line {number:>70}\n" for number in range(50_000))
    make_wheel(folder, "large", "1.0", modules={"large": f"{lines}__version__ = '1.0'\n"})
