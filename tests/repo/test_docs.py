"""What the pages say of each other, of the rooms and of files is so."""

import importlib
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from textwrap import indent

import pytest

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # scripts, no package

from house import FILES, ranks

RANK = {room: rank for rank, rooms in enumerate(ranks()) for room in rooms}
# Not what was installed or built beside them, and no texts that measurements read.
PAGES = sorted(
    page
    for top in ("", "docs/**/", "models/", "godot_bridge/**/", "bindings/**/", "tests/**/")
    for page in ROOT.glob(f"{top}*.md")
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MOST_BYTES = 8 * 1024
FENCED = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()]*\)[^()\s]*)*)\)")
PATH = re.compile(
    r"`(?!\S+\.cpp`)"  # llama.cpp's own tests
    r"((?:npc_engine|tests|tools|benchmarks|examples|docs)/[\w./+-]+|models/\w+\.py)`"
)


@cache
def anchors(page: Path) -> set[str]:
    """The fragments that GitHub makes of a page's headings."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), link
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), link


@pytest.mark.parametrize("name", [n for n in NAMES if n != "CHANGELOG.md"])
def test_files_that_are_named_exist(name: str) -> None:
    page = ROOT / name
    named = PATH.findall(page.read_text(encoding="utf-8"))
    roots = (ROOT, page.parent)
    assert [path for path in named if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_imported_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for module, names in re.findall(r"^from (npc_engine[\w.]*) import (.+)$", text, re.M):
        loaded = importlib.import_module(module)
        assert all(hasattr(loaded, n.strip()) for n in names.split("#")[0].split(",")), module


def test_the_architecture_names_every_room() -> None:
    assert len(ARCHITECTURE.encode()) <= MOST_BYTES
    rows = re.findall(r"^\| (`.*?) \|", ARCHITECTURE, re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(RANK)


def test_the_architecture_shows_the_heart_as_it_is() -> None:
    shown = re.findall(r"```python\n(.*?)\n```", ARCHITECTURE, re.S)
    assert len(shown) == 1
    assert indent(shown[0], "    ") in FILES["engine"].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/decisions.md"])
def test_files_of_rooms_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)/([\w{},/]+)(?:\.py)?`", text)
    files = [f"{a}.{name}" for a, b in named if a in RANK for name in b.strip("{}").split(",")]
    files = [file.replace("/", ".") for file in files]
    assert files
    assert [file for file in files if not {file, f"{file}.__init__"} & FILES.keys()] == []


def test_classes_of_the_words_exist() -> None:
    words = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Words")[1]
    named = set(re.findall(r"`([A-Z]\w+)`", words.split("\n## ")[0]))
    source = "".join(path.read_text(encoding="utf-8") for path in FILES.values())
    assert len(named) > 7
    assert {c for c in named if not re.search(rf"^class {c}\b", source, re.M)} == set()


def test_decisions_are_by_room() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^## (.*)", text, re.M)
    assert [r for r in rooms if r not in RANK] == ["The rooms", "Outside of the package"]
    ranks = [RANK[r] for r in rooms if r in RANK]
    assert ranks == sorted(ranks), "from the ground up"
