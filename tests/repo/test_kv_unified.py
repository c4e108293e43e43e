"""benchmarks/kv_unified.py runs, and tells what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "kv_unified.py"


@pytest.mark.model
def test_a_short_run(tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "kv.json"
    flags = ["--speakers=1,8", "--idle=0,8", "--depths=64,128", "--rounds=1", "--threads=1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tiny_llama), *flags, "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text("utf-8"))
    assert [(r["depth"], r["n_speakers"], r["n_idle"]) for r in found["rows"]] == [
        (depth, n, idle) for depth in (64, 128) for n in (1, 8) for idle in (0, 8)
    ]
    for row in found["rows"]:
        assert {name.split(",")[0] for name in row["ms"]} == {"split", "unified"}
        assert all(ms > 0 for ms in row["ms"].values())
    assert set(next(iter(found["seats"]["ms"].values()))) == {
        *("in order", "reversed", "shuffled", "with gaps")
    }
    page = out.with_suffix(".md").read_text("utf-8")
    assert page in done.stdout
    assert page.startswith("# Split or unified KV cache: ")
