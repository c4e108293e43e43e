#!/usr/bin/env python3
"""The rooms of npc_engine/, from its real imports: their picture, and how large things are.

Owns what a room is, who imports whom, and docs/rooms.svg. The rule that it draws (which row a room
stands in) is RANKS in tests/repo/test_imports.py.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "FILES",
    "MODULES",
    "PICTURE",
    "SIGNS",
    "figures",
    "function_lines",
    "imports",
    "is_current",
    "main",
    "picture",
    "ranks",
    "room",
]

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "npc_engine"
RULE = ROOT / "tests" / "repo" / "test_imports.py"
PICTURE = ROOT / "docs" / "rooms.svg"

FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# A room's sign says what it owns, and may hand out what it holds.
SIGNS = {name: path for name, path in FILES.items() if name.endswith(".__init__")}
MODULES = sorted(set(FILES) - set(SIGNS))

LINES_A_PX = 9  # a room is as wide as it is long
LEAST_PX, HIGH_PX, APART_PX, MARGIN_PX = 128, 76, 14, 24
HEAD_PX, ROW_PX = 52, 90
LEGEND = (
    "each imports only what stands below it; ↓ what it rests on, less what that rests on; "
    "bars are files, orange those of its folders"
)
NEAR_LINES = 60  # a picture is current until a room has changed by so many, or by a tenth
STYLE = """
  .page { fill: #fbfaf7; stroke: #d9d4c8 } .room { fill: #fff; stroke: #8a8271 }
  text { font: 11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; text-anchor: middle }
  .title { fill: #22201c; font-size: 15px; font-weight: 600 } .size { fill: #6b6557 }
  .name { fill: #22201c; font-size: 14px; font-weight: 600 } .below { fill: #9a5b12 }
  .file { fill: #d8cfb8 } .deeper { fill: #e8bd84 } .folder { fill: #6b6557; font-size: 10px }
  @media (prefers-color-scheme: dark) {
    .page { fill: #15171b; stroke: #33373f } .room { fill: #20242b; stroke: #69707d }
    .title, .name { fill: #eceef2 } .size, .folder { fill: #a3aab8 } .below { fill: #e3ad68 }
    .file { fill: #454c58 } .deeper { fill: #80623a }
  }
"""


class Box(NamedTuple):
    """A room on the page, in pixels."""

    x: float
    y: float
    width: float


def main(arguments: list[str] | None = None) -> int:
    """Print the figures, or write or check the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument(
        "what", nargs="?", choices=("figures", "picture", "check"), default="figures",
        help="print the figures; write docs/rooms.svg; or exit with 1 if it is not current",
    )  # fmt: skip
    what = parser.parse_args(arguments).what
    if what == "figures":
        for name, value in figures().items():
            print(f"{name:32} {value:,}")
    elif what == "picture":
        PICTURE.write_text(picture(), encoding="utf-8")
    elif not is_current(PICTURE.read_text(encoding="utf-8") if PICTURE.exists() else ""):
        print("docs/rooms.svg is not what the imports say: run make docs-rooms.", file=sys.stderr)
        return 1
    return 0


# what there is


def room(module: str) -> str:
    """The folder of the package that a module lies in, or the file beside the folders."""
    return module.partition(".")[0]


def imports(module: str) -> Iterator[str]:
    """The package's own modules that a module imports anywhere in its file."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "npc_engine":
                yield _file(rest)


def figures() -> dict[str, int]:
    """How large things are: lines of files and functions (with decorators), files of folders."""
    sizes = sorted(_n_lines(module) for module in FILES)
    functions = sorted(size for module in FILES for size in function_lines(module).values())
    folders = sorted(len(_siblings(sign)) for sign in SIGNS)
    return {
        "files beside signs": len(MODULES),
        "lines": sum(sizes),
        "lines, longest file": sizes[-1],
        "lines of bench": sum(_n_lines(m) for m in FILES if room(m) == "bench"),
        "functions": len(functions),
        "lines a function, median": functions[len(functions) // 2],
        "lines a function, p90": functions[len(functions) * 9 // 10],
        "lines, longest function": functions[-1],
        "rooms": len({room(module) for module in MODULES}),
        "folders": len(SIGNS),
        "files a folder, median": folders[len(folders) // 2],
        "files a folder, most": folders[-1],
    }


def function_lines(module: str) -> dict[str, int]:
    """How long each function and method is, by name and line."""
    found = (n for n in ast.walk(_tree(module)) if isinstance(n, ast.FunctionDef))
    return {f"{module}:{n.lineno} {n.name}": (n.end_lineno or 0) - _begins(n) + 1 for n in found}


def _begins(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(d.lineno for d in function.decorator_list)])


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def _n_lines(module: str) -> int:
    return FILES[module].read_text(encoding="utf-8").count("\n")


def _siblings(sign: str) -> list[str]:
    folder = FILES[sign].parent
    return [m for m in MODULES if FILES[m].parent == folder]


def _file(name: str) -> str:
    """The file that `a.b.c` names: it, what it stands in, or the room's sign."""
    while name and name not in FILES:
        if f"{name}.__init__" in FILES:
            return f"{name}.__init__"
        name = name.rpartition(".")[0]
    return name or "__init__"


@cache
def ranks() -> list[set[str]]:
    """The rows of the rule, from the ground up."""
    found = re.search(r"^RANKS = (\[.*?^\])", RULE.read_text(encoding="utf-8"), re.M | re.S)
    assert found, f"{RULE} has no RANKS"
    rows: list[set[str]] = ast.literal_eval(found[1])
    return rows


@cache
def _stands_on() -> dict[str, set[str]]:
    """What each room imports, without what one of these stands on anyway."""
    below: dict[str, set[str]] = {}
    direct: dict[str, set[str]] = {}
    for name in (name for row in ranks() for name in sorted(row)):
        found = {room(o) for m in _files(name) for o in imports(m)} & below.keys()
        deeper = set().union(*(below[other] for other in found))
        direct[name], below[name] = found - deeper, found | deeper
    return direct


# its picture


def is_current(drawn: str) -> bool:
    """Whether a picture shows what there is: lines nearly, or each commit would need a new one."""
    (old, old_lines), (new, new_lines) = _told(drawn), _told(picture())
    pairs = zip(old_lines, new_lines, strict=old == new)
    return old == new and all(abs(a - b) <= max(NEAR_LINES, b // 10) for a, b in pairs)


def _told(drawn: str) -> tuple[list[str], list[int]]:
    """All words of a picture but for the numbers of lines, and these."""
    words = " | ".join(re.findall(r">([^<]+)</text>", drawn))
    parts = re.split(r"([\d,]+) lines", words)
    return parts[::2], [int(n.replace(",", "")) for n in parts[1::2]]


def picture() -> str:
    """The rows of the rule from the top; rooms as wide as they are long, with their files."""
    width = MARGIN_PX * 2 + max(map(_row_width, ranks()))
    height = HEAD_PX + ROW_PX * len(ranks()) - (ROW_PX - HIGH_PX) + MARGIN_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="1" y="1" width="{width - 2:.0f}" height="{height - 2}" rx="8"/>',
        _text("title", width / 2, 24, "The rooms of npc_engine"),
        _text("size", width / 2, 41, LEGEND),
    ]
    for row, names in enumerate(reversed(ranks())):
        x = (width - _row_width(names)) / 2
        for name in sorted(names):
            box = Box(x, HEAD_PX + row * ROW_PX, _width(name))
            parts += _drawn(name, box)
            x += box.width + APART_PX
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(name: str, box: Box) -> Iterator[str]:
    """A room: its name and size, what it stands on, and a window for each file."""
    middle, files = box.x + box.width / 2, _files(name)
    below = ", ".join(sorted(_stands_on()[name]))
    n = len(files) - sum(f in SIGNS for f in files)
    size = f"{_n_lines_of(name):,} lines" + (f", {n} files" if n > 1 else "")
    yield _rect("room", box, HIGH_PX, 5)
    yield _text("name", middle, box.y + 18, name if f"{name}.__init__" in SIGNS else f"{name}.py")
    yield _text("size", middle, box.y + 33, size)
    yield _text("below", middle, box.y + 47, f"↓ {below}") if below else ""
    yield from _windows(files, box)


def _windows(files: list[str], box: Box) -> Iterator[str]:
    """A room's files side by side; those of its folders behind its own, and under their name."""
    x = box.x + (box.width - sum(map(_n_lines, files)) / LINES_A_PX) / 2
    for folder, group in groupby(sorted(files, key=_folder), _folder):
        left = x
        for width in (_n_lines(file) / LINES_A_PX for file in group):
            if width > 2:
                window = Box(x + 1, box.y + 54, width - 2)
                yield _rect("deeper" if folder else "file", window, 8, 1)
            x += width
        yield _text("folder", (left + x) / 2, box.y + 72, folder) if folder else ""


def _folder(module: str) -> str:
    """The folder within its room that a module lies in."""
    return ".".join(module.split(".")[1:-1])


def _text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.0f}">{words}</text>'


def _rect(kind: str, box: Box, height: int, radius: int) -> str:
    return (
        f'<rect class="{kind}" x="{box.x:.1f}" y="{box.y:.0f}" width="{box.width:.1f}"'
        f' height="{height}" rx="{radius}"/>'
    )


def _row_width(names: set[str]) -> float:
    return sum(map(_width, names)) + APART_PX * (len(names) - 1)


def _width(name: str) -> float:
    return max(LEAST_PX, _n_lines_of(name) / LINES_A_PX + 10)


def _files(name: str) -> list[str]:
    return [module for module in FILES if room(module) == name]


def _n_lines_of(name: str) -> int:
    return sum(map(_n_lines, _files(name)))


if __name__ == "__main__":
    raise SystemExit(main())
