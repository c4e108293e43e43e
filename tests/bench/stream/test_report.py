"""What the counts of a run come to, and how it is told."""

import math
from typing import Any

import pytest

from npc_engine.bench.stream.figures import course, difference, figures, perplexity
from npc_engine.bench.stream.policies import Rolling
from npc_engine.bench.stream.reader import Block, Reader
from npc_engine.bench.stream.report import markdown, text_table


def block(each: float, n: int = 100) -> Block:
    """A block of perplexity `each`; a tenth of it is in the sample."""
    nll = math.log(each)
    return Block(
        n=n,
        nll=n * nll,
        n_same=n // 10,
        nll_same=n // 10 * nll,
        n_read=n - 4,
        read_ms=3.0 * (n - 4),
        single_ms=7.0,
        first_ms=9.0,
        context=40.0 * n,
        n_peak=50,
    )


def told(name: str, *perplexities: float, ended: str = "") -> dict[str, Any]:
    reader = Reader.__new__(Reader)  # no llama.cpp: nothing is read
    reader.plan = Rolling(50, 0)
    reader.blocks = [block(p) for p in perplexities]
    reader.n_done = 100 * len(perplexities)
    reader.ended = ended
    return figures(name, reader, 1024)


def test_figures_of_a_policy() -> None:
    f = told("sinks-4", 20, 20, 5, 20, 80, 20, 20, 20)
    assert f["title"] == "4 sinks + window"
    assert f["perplexity"] == pytest.approx(20, abs=0.001)
    assert f["quarters"] == pytest.approx([20, 10, 40, 20], abs=0.001)
    assert f["broke_at"] == 500
    assert (f["read_ms"], f["token_ms"], f["evict_ms"]) == (3.0, 7.0, 9.0)
    assert (f["peak_cells"], f["peak_kv_bytes"], f["mean_context"]) == (50, 51200, 40.0)
    assert perplexity(f, 3) == pytest.approx(20 ** (2 / 3) * 5 ** (1 / 3), abs=0.001)


def test_a_policy_that_cannot_run_says_why() -> None:
    assert figures("sinks-4", "no keys", 1)["skipped"] == "no keys"


def test_a_course_is_measured_against_the_noise_of_its_pages() -> None:
    more, noise = course([9, 9, 3.0, 3.2, 9, 9, 3.1, 3.3])
    assert more == pytest.approx(math.expm1(0.1))
    assert noise == pytest.approx(math.exp(0.1) * 2 * 0.1 * math.sqrt(2), rel=0.001)
    assert course([9, 9, 3, 3, 9, 9, 3, 3]) == (0, 0)


def test_a_difference_is_paired() -> None:
    more, noise = difference([2.1, 4.1, 3.1, 5.1], [2.0, 4.0, 3.0, 5.0])
    assert more == pytest.approx(math.expm1(0.1))
    assert noise == pytest.approx(0, abs=1e-9)


def report() -> dict[str, Any]:
    policies = [
        told("full", 18, 19, ended="no room"),
        told("recompute", 20, 20, 20, 20),
        told("sinks-4", 20, 20, 20, 20),
        told("ours", 20.2, 20, 20, 20.2),
        {"name": "linear", "title": "full, linear x 2", "skipped": "no rotary positions"},
    ]
    settings = {"window": 50, "n_full": 200, "n_chunk": 32, "n_pinned": 8, "n_turn": 16}
    return {
        "title": "A novel",
        "command": "npc-engine bench stream",
        "n_tokens": 400,
        "n_block": 100,
        "settings": settings | {"n_threads": 1},
        "layout": "f16",
        "kv_bytes_per_token": 1024,
        "model": {"name": "M", "arch": "llama", "n_bytes": 1 << 20, "n_ctx_train": 2048},
        "text": {"name": "novel.txt"},
        "machine": {
            "n_physical": 2,
            "features": ["avx2"],
            "llama_cpp_python": "1",
            "compiler": None,
        },
        "policies": policies,
    }


def test_the_table_says_how_each_ended() -> None:
    rows = text_table(report()).splitlines()
    assert rows[2].endswith("no room at 200")
    assert rows[-1].endswith("not run: no rotary positions")
    assert rows[3].endswith("goes on")


def test_the_notes_compare_what_can_be_compared() -> None:
    text = markdown(report(), "a.png")
    assert "full attention ended at 200 tokens; over the same tokens persona + holes" in text
    assert "(ours) has 20.10." in text
    assert "Ours against 4 sinks + window: +0.50 % (+-0.58 %)." in text
    assert "4 sinks + window 20.00, then 20.00" in text
    assert "![Perplexity" in text
    assert "![Perplexity" not in markdown(report(), "")
