"""Who may import whom, what an import costs, and what each module makes public.

A room is a folder of the package, or a file beside the folders. It imports only rooms of lower
rows, lazy imports within functions included, and no file of a room leads back to itself. So whoever
reads a room has read all it stands on.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))  # scripts, no package

from house import FILES, MODULES, SIGNS, imports, room

HEAVY = {"jinja2", "llama_cpp", "numpy", "psutil", "rich", "zmq"}
MAX_IMPORT_S = 0.1

RANKS = [  # the house from the ground up; rooms of one row do not know each other
    {"errors", "version"},
    {"config", "cpu", "storage", "text"},
    {"protocol"},
    {"cards"},
    {"llama", "kvcache"},
    {"scheduling", "dialogue"},
    {"scenes"},
    {"characters"},
    {"saving"},
    {"engine"},
    {"loading"},
    {"client", "server"},
    {"bench"},
    {"cli"},
    {"__init__"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(RANKS) for room in rooms}
MOST_FILES = 14  # in a room, beside its folders
# Who knows a library that is slow to import or dangerous to use.
OWNERS = {
    "ctypes": {"llama.context", "llama.model", "llama.vocab"},
    "jinja2": {"text.jinja.sandbox", "text.jinja.syntax_tree", "text.jinja.values"},
    "llama_cpp": {
        "bench.crowd.timed_llama",
        "bench.talk.baseline",
        "llama.context",
        "llama.model",
        "llama.sampler",
        "llama.vocab",
    },
    # Distributions over 49k tokens.
    "numpy": {"kvcache.recurrent_drift", "llama.context"},
    "rich": {"bench.shared.run", "cli.terminal"},
    "zmq": {"client.zmq_client", "server.bridge", "server.endpoint", "server.stream_socket"},
}
# The measurements are behind one door: a game may leave them out of what it ships.
BENCH = {"cli.bench", "cli.tune"}
# They define no names for others.
SCRIPTS = {"__main__"}


def public(module: str) -> list[str]:
    return list(importlib.import_module(f"npc_engine.{module}").__all__)


def run(code: str) -> str:
    """Run Python in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_room_has_a_row() -> None:
    assert sorted(RANK) == sorted({room(m) for m in MODULES})


@pytest.mark.parametrize("module", [*MODULES, *SIGNS])
def test_a_module_imports_lower_rooms_only(module: str) -> None:
    for other in imports(module):
        here, there = room(module), room(other)
        if here != there:
            assert RANK[there] < RANK[here], f"{module} may not import {other}"


def test_within_a_room_no_import_leads_back() -> None:
    # A room's sign may hand out what it holds: it is no file of the circle.
    graph = {m: {o for o in imports(m) if o not in SIGNS and room(o) == room(m)} for m in MODULES}
    assert len([*TopologicalSorter(graph).static_order()]) == len(MODULES)


def test_a_room_is_no_list() -> None:
    many = {s: len([*path.parent.glob("*.py")]) - 1 for s, path in SIGNS.items()}
    assert {sign: n for sign, n in many.items() if n > MOST_FILES} == {}


def test_every_room_has_a_sign() -> None:
    folders = {path.parent for name, path in FILES.items() if "." in name}
    assert {path.parent for path in SIGNS.values()} == folders
    for sign, path in SIGNS.items():
        says = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        assert len(says.split()) > 8, sign


def test_measurements_are_behind_one_door() -> None:
    by_name = re.compile(r'"bench\.\w')  # how a command is found that is loaded when it is wanted
    names = {
        m
        for m in MODULES
        if any(room(o) == "bench" for o in imports(m))
        or by_name.search(FILES[m].read_text("utf-8"))
    }
    assert {name for name in names if room(name) != "bench"} == BENCH


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_only_its_owners_know_a_library(library: str) -> None:
    pattern = re.compile(rf"^\s*(?:import|from) {library}\b", re.M)
    found = {m for m in MODULES if pattern.search(FILES[m].read_text("utf-8"))}
    assert found == OWNERS[library]


@pytest.mark.parametrize("module", sorted(set(MODULES) - SCRIPTS - {"__init__"}))
def test_all_is_sorted_and_exists(module: str) -> None:
    names = public(module)
    loaded = importlib.import_module(f"npc_engine.{module}")
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=by_kind)
    assert [name for name in names if not hasattr(loaded, name)] == []


def by_kind(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_the_face_of_the_package() -> None:
    import npc_engine

    assert npc_engine.__all__ == sorted(npc_engine.__all__, key=by_kind)
    assert set(npc_engine.__all__) <= set(dir(npc_engine))
    assert all(getattr(npc_engine, name) is not None for name in npc_engine.__all__)
    with pytest.raises(AttributeError, match="Enigne"):
        npc_engine.Enigne  # noqa: B018


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import npc_engine", set()),
        ("from npc_engine import Engine", set()),
        ("from npc_engine import Client", {"zmq"}),
        ("import npc_engine.server.bridge", {"zmq"}),
    ],
)
def test_what_an_import_loads(code: str, allowed: set[str]) -> None:
    loaded = json.loads(run(f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"))
    assert HEAVY & set(loaded) == allowed


def test_importing_the_package_is_quick() -> None:
    code = (
        "from time import process_time\nbegan = process_time()\nimport npc_engine\n"
        "print(process_time() - began)"
    )
    assert min(float(run(code)) for _ in range(5)) < MAX_IMPORT_S
