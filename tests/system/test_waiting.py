"""How llama.cpp's threads wait: the settings that the native library reads when it is loaded.

Each in a process of its own, since a library reads them once.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import importlib, os, sys
sys.addaudithook(lambda event, args: print(
    os.environ.get("OMP_WAIT_POLICY"), os.environ.get("KMP_BLOCKTIME"), flush=True
) if event == "import" and args[0] == "llama_cpp" else None)
importlib.import_module(sys.argv[1])
"""
AFTER = """
import statistics, sys, time
from pathlib import Path
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.model import Layout, Model
llama = Llama(
    Model(Path(sys.argv[1])), n_slots=8, n_cells=1024, n_batch=64, n_threads=2,
    layout=Layout("f16", "f16"), owns_model=True,
)
spent = []
for step in range(5):
    llama.decode([Span(slot, step, [5], True) for slot in range(8)])
    before = time.process_time()
    time.sleep(0.2)
    spent.append(time.process_time() - before)
print(statistics.median(spent))
"""


def output(code: str, *arguments: str, **settings: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "KMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**clean, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module", ["loading", "llama.context", "llama.sampler", "bench.talk.baseline", "llama.selftest"]
)
def test_they_are_set_before_the_library_is_loaded(module: str) -> None:
    assert output(SHOW, f"npc_engine.{module}").splitlines()[0] == "passive 1"


def test_what_the_user_has_set_is_kept() -> None:
    own = output(SHOW, "npc_engine.llama.context", OMP_WAIT_POLICY="active", KMP_BLOCKTIME="200")
    assert own.splitlines()[0] == "active 200"


@pytest.mark.model
def test_threads_sleep_behind_a_step(tiny_llama: Path) -> None:
    """Processor time of the whole process in 200 ms of waiting. libomp by itself: 100 ms."""
    assert float(output(AFTER, str(tiny_llama))) < 0.005
