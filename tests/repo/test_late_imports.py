"""Once an engine waits for the end of stdin it imports nothing: Windows would hang in that."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from npc_engine.client.sidecar import Sidecar
from npc_engine.errors import NpcError
from npc_engine.server.serve import OF_ONE_SYSTEM

# Says which modules are looked for while the thread is there that waits for the end of stdin.
WATCHED = """
import sys, threading

class Watch:
    def find_spec(self, name, path=None, target=None):
        if any(t.name == "npc-engine stdin" for t in threading.enumerate()):
            sys.stderr.write(f"late: {name}\\n")

sys.meta_path.insert(0, Watch())
from npc_engine.cli.commands import main
sys.exit(main(sys.argv[1:]))
"""
IMPORTED = """
import json, sys
import npc_engine.server.bridge
from npc_engine.server import serve
serve.import_all()
print(json.dumps({name: getattr(m, "__file__", None) for name, m in sys.modules.items()}))
"""


def late_imports(source: str) -> set[str]:
    """Return the modules that are imported in the functions of a source."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    found.add(str(node.module))
    return found


@pytest.mark.slow
def test_whatever_is_imported_in_a_function_is_there_already() -> None:
    out = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, check=True, timeout=60
    )
    modules: dict[str, str | None] = json.loads(out.stdout)
    late = {
        (name, there)
        for name, file in modules.items()
        if name.startswith("npc_engine") and file
        for there in late_imports(Path(file).read_text("utf-8"))
        if there not in modules and there not in OF_ONE_SYSTEM
    }
    assert not late
    assert {"numpy", "llama_cpp", "jinja2"} <= set(modules)
    assert ("winreg" in modules) == (sys.platform == "win32")


@pytest.mark.model
def test_whatever_an_engine_does_it_imports_nothing_any_more(
    tiny_llama: Path, tmp_path: Path
) -> None:
    flags = ("--window", "512", "--slots", "2", "--autosave", "5", "--park-ram", "1")
    watched = [sys.executable, "-c", WATCHED]
    saves = ("--saves", str(tmp_path / "saves"))
    engine = Sidecar(tiny_llama, *flags, *saves, executable=watched)
    with engine, engine.client() as client:
        for npc in ("mara", "bo", "tom"):
            client.spawn(npc, {"name": npc})
            client.say(npc, "Who are you?", max_tokens=8).wait()
        list(client.scene("inn", ["mara", "bo"], turns=2, max_tokens=8))
        client.save("one")
        client.save("two", mode="journal")
        client.load("one")
        for ask in (client.window, client.transcript, client.despawn):
            ask("mara")
        client.stats()
        with pytest.raises(NpcError):
            client.load("none")
    assert [line for line in engine.log if line.startswith("late: ")] == []
