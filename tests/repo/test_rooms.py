"""The tests mirror the rooms: where the test of a module is, and that no test rests on another."""

import ast
from pathlib import Path

import pytest

from tests.support.paths import ROOT, TESTS

PACKAGE = ROOT / "npc_engine"
SMALL = 40  # lines: so small a module is tested by whoever uses it

# Commands and measurements are tested whole, as somebody calls them.
WHOLE = {"bench", "cli"}
# Modules that another one's test covers, since what they do shows there.
COVERED = {
    "characters/broadcast": "characters/test_unread_events",
    "characters/replies": "characters/test_character",
    "characters/requests": "test_engine",
    "characters/runnable": "system/test_step_work",
    "client/mailbox": "client/test_speech",
    "client/verbs": "client/test_zmq_client",
    "kvcache/cache": "kvcache/test_sequence",
    "llama/gguf_header": "llama/test_model_file",
    "llama/layout_trial": "llama/test_kv_layout",
    "llama/sampler": "llama/test_context",
    "protocol/replies": "protocol/test_codec",
    "protocol/requests": "protocol/test_codec",
    "saving/journal/pace": "saving/journal/test_journaling",
    "saving/journal/rounds": "saving/journal/test_journaling",
    "saving/journal/table": "saving/journal/test_journaling",
    "saving/records": "saving/test_serialization",
    "saving/restore/held_requests": "saving/restore/test_arrivals",
    "saving/restore/reviving": "saving/restore/test_arrivals",
    "saving/restore/spawning": "saving/restore/test_amend",
    "scenes/audience": "scenes/test_scene",
    "server/stream_socket": "system/test_strangers",
    "storage/journal/files": "saving/journal/test_journaling",
    "storage/slot_reader": "storage/test_store",
    "text/jinja/sandbox": "text/test_chat_template",
    "text/jinja/syntax_tree": "text/test_chat_template",
    "text/jinja/values": "text/test_chat_template",
    "text/punctuation": "text/test_detokenizer",
    "text/quotation": "text/test_detokenizer",
    "text/sentence_ends": "text/test_detokenizer",
    "text/sentences": "text/test_detokenizer",
    "text/spellings": "text/test_detokenizer",
}
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix(): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not path.stem.startswith("__")
}
FILES = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py"))}


def mirrored(module: str) -> Path:
    room, _, name = module.rpartition("/")
    return TESTS / room / f"test_{name}.py"


def test_every_module_has_its_test() -> None:
    without = [
        module
        for module, path in MODULES.items()
        if module.split("/")[0] not in WHOLE
        and len(path.read_text("utf-8").splitlines()) > SMALL
        and not mirrored(module).exists()
    ]
    assert sorted(set(without) - COVERED.keys()) == [], "write one, or name the test in COVERED"


@pytest.mark.parametrize("module", COVERED)
def test_who_is_covered_by_another(module: str) -> None:
    assert module in MODULES, "it is gone: strike it from COVERED"
    assert not mirrored(module).exists(), "it has a test of its own: strike it from COVERED"
    assert f"{COVERED[module]}.py" in FILES


def test_every_room_of_the_tests_is_a_room() -> None:
    rooms = {Path(module).parent.as_posix() for module in MODULES}
    of_tests = {Path(name).parent.as_posix() for name in FILES if "/test_" in name}
    assert of_tests - rooms == {"repo", "system"}


@pytest.mark.parametrize("name", FILES)
def test_no_test_rests_on_another(name: str) -> None:
    """What is shared is in tests/support, so that a test file may be moved, split or deleted."""
    tree = ast.parse(FILES[name].read_text("utf-8"))
    imported = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.")
        for alias in node.names
    }
    assert [each for each in imported if ".test_" in each] == []
