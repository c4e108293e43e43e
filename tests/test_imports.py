"""Who may import whom, what an import costs, and what each module makes public.

A module imports only modules of a strictly lower rank, lazy imports within functions included. So
there are no cycles, and whoever reads a file has read all it stands on. A new module gets its line
here: the lowest rank that its imports allow.
"""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "npc_engine"
HEAVY = {"jinja2", "llama_cpp", "numpy", "psutil", "rich", "zmq"}
MAX_IMPORT_S = 0.1

RANKS = {
    "template_tree": 0,
    "template_values": 0,
    "bench_save_figures": 0,
    "bounds": 0,
    "busy_game": 0,
    "chunks": 0,
    "complaint": 0,
    "cores": 0,
    "crowd_figures": 0,
    "delta": 0,
    "dry": 0,
    "errors": 0,
    "gguf_header": 0,
    "keyboard": 0,
    "lean": 0,
    "ledger": 0,
    "macros": 0,
    "marks": 0,
    "measurements": 0,
    "death": 1,
    "niceness": 0,
    "payload": 0,
    "prefixes": 0,
    "probe": 0,
    "quantization": 0,
    "replies": 0,
    "requests": 0,
    "scratch": 0,
    "runs": 0,
    "soak_verdict": 0,
    "talk_script": 0,
    "talk_turn": 0,
    "template": 1,
    "terminals": 0,
    "spellings": 0,
    "thoughts": 0,
    "usual": 0,
    "visible": 0,
    "addressed": 1,
    "labels": 1,
    "card_fields": 1,
    "card_file": 1,
    "doctor_text": 1,
    "card_shapes": 1,
    "durable": 1,
    "endpoint": 1,
    "zmtp": 0,
    "connections": 1,
    "folder_lock": 1,
    "llama_vocab": 1,
    "messages": 1,
    "model_file": 1,
    "parking": 1,
    "prompt": 2,
    "punctuation": 1,
    "report": 1,
    "rival_process": 1,
    "rope": 1,
    "sequence": 1,
    "stream": 1,
    "threads": 1,
    "writer": 1,
    "appending": 2,
    "backups": 2,
    "card": 2,
    "config": 2,
    "crowd_plot": 2,
    "drift": 2,
    "governor": 2,
    "hearsay": 2,
    "held": 2,
    "installation": 2,
    "llama_model": 2,
    "peer": 2,
    "quotation": 2,
    "scheduler": 2,
    "sentences": 2,
    "snapshot": 2,
    "speech": 2,
    "telling": 2,
    "top_sample": 2,
    "voice": 3,
    "window_bars": 2,
    "savable": 3,
    "ambient": 3,
    "beginnings": 3,
    "crowd_setup": 3,
    "detokenizer": 3,
    "example_characters": 3,
    "flags": 3,
    "gate": 3,
    "journal": 3,
    "llama_sampler": 3,
    "open_turn": 4,
    "reading": 3,
    "rival": 3,
    "saved": 3,
    "seats": 3,
    "stream_text": 3,
    "verbs": 3,
    "window_picture": 3,
    "bridge": 4,
    "client": 4,
    "hearing": 5,
    "journals": 4,
    "llama": 4,
    "save_text": 4,
    "speaking": 4,
    "slot_reader": 4,
    "terminal": 4,
    "top_picture": 4,
    "chat": 5,
    "crowd_llama": 5,
    "npc": 6,
    "saves_folder": 5,
    "selftest": 5,
    "sidecar": 5,
    "store": 5,
    "stream_reader": 5,
    "top": 5,
    "track": 5,
    "yardstick": 5,
    "audience": 7,
    "calibrate": 6,
    "crowd_idle": 6,
    "demo": 6,
    "machine": 6,
    "newer": 7,
    "overhearing": 7,
    "amend": 7,
    "markup": 4,
    "past": 7,
    "pins": 7,
    "save_archive": 6,
    "save_report": 6,
    "stream_partial": 6,
    "stream_policies": 6,
    "unread": 7,
    "world": 7,
    "bench_save_report": 7,
    "crowd_report": 7,
    "inbox": 8,
    "undone": 8,
    "opening": 7,
    "saves": 7,
    "scene": 8,
    "stream_figures": 7,
    "stream_run": 7,
    "talk_report": 7,
    "requantize": 6,
    "trial": 7,
    "character": 9,
    "scenes": 9,
    "frozen": 9,
    "sinks_report": 8,
    "stream_report": 8,
    "follow": 10,
    "window": 10,
    "agenda": 11,
    "awake": 10,
    "rounds": 11,
    "stage": 11,
    "copying": 12,
    "journaling": 12,
    "restoring": 12,
    "arrivals": 13,
    "autosave": 13,
    "saving": 14,
    "spawning": 15,
    "engine": 16,
    "__init__": 17,
    "guest": 17,
    "loading": 17,
    "bench_stream": 18,
    "crowd": 18,
    "doctor": 18,
    "inspect_file": 18,
    "serve": 18,
    "soak_acts": 18,
    "talk": 18,
    "tune_sinks": 18,
    "bench_save_parts": 19,
    "bench_talk": 19,
    "crowd_governor": 19,
    "inspect_live": 19,
    "soak": 19,
    "crowd_parts": 20,
    "soak_process": 20,
    "bench_crowd": 21,
    "bench_soak": 21,
    "bench_save": 22,
    "bench": 23,
    "cli": 24,
    "__main__": 25,
}
# `Engine.open` is all that a game in Python has to know, so it may reach up.
EXCEPTIONS = {("engine", "loading")}
# The face of the package: what everybody may take from it costs nothing.
FACE = {"__version__"}
# Who knows a library that is slow to import or dangerous to use.
OWNERS = {
    "ctypes": {"llama", "llama_model", "llama_vocab"},
    "jinja2": {"template", "template_tree", "template_values"},
    "llama_cpp": {"crowd_llama", "llama", "llama_model", "llama_sampler", "llama_vocab", "rival"},
    "numpy": {"drift", "llama", "stream_reader"},  # distributions over 49k tokens
    "rich": {"report", "terminal"},
    "zmq": {"bridge", "client", "connections", "endpoint"},
}
# They define no names for others.
SCRIPTS = {"__main__"}

MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def imports(module: str) -> Iterator[str]:
    """The package's own modules that a module imports anywhere in its file."""
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "npc_engine" and rest not in FACE:
                yield rest.partition(".")[0]


def public(module: str) -> list[str]:
    return list(importlib.import_module(f"npc_engine.{module}").__all__)


def run(code: str) -> str:
    """Run Python in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_has_a_rank() -> None:
    assert sorted(RANKS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_lower_ranks_only(module: str) -> None:
    for other in imports(module):
        assert other in RANKS, f"{module} imports {other!r}, which is no module"
        if (module, other) not in EXCEPTIONS:
            assert RANKS[other] < RANKS[module], f"{module} may not import {other}"


def test_ranks_are_as_low_as_they_can_be() -> None:
    for module, rank in RANKS.items():
        below = [RANKS[o] for o in imports(module) if (module, o) not in EXCEPTIONS]
        assert rank == max(below, default=-1) + 1, module


def test_the_architecture_names_every_module() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text("utf-8")
    table = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted({*MODULES} - {"__init__", "__main__"})


def test_the_exceptions_are_still_needed() -> None:
    assert {(m, o) for m, o in EXCEPTIONS if o in imports(m)} == EXCEPTIONS


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_only_its_owners_know_a_library(library: str) -> None:
    pattern = re.compile(rf"^\s*(?:import|from) {library}\b", re.M)
    found = {m for m in MODULES if pattern.search((PACKAGE / f"{m}.py").read_text("utf-8"))}
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
        ("import npc_engine.bridge", {"zmq"}),
    ],
)
def test_what_an_import_loads(code: str, allowed: set[str]) -> None:
    loaded = json.loads(run(f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"))
    assert HEAVY & set(loaded) == allowed


def test_importing_the_package_is_quick() -> None:
    code = (
        "from time import perf_counter\nbegan = perf_counter()\nimport npc_engine\n"
        "print(perf_counter() - began)"
    )
    assert min(float(run(code)) for _ in range(5)) < MAX_IMPORT_S
