"""One model tried on this machine: facts for `doctor`, all of plain JSON types.

Owns the short measurement of reading and speaking, and what memory the model needs. Each part is
bounded in time. It judges nothing.
"""

import time
from collections.abc import Sequence
from typing import Any

from npc_engine.cli.doctor.quantization import name_of
from npc_engine.config import DEFAULT_WINDOW
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.kv_layout import Row, measured
from npc_engine.llama.model import Layout, Model
from npc_engine.llama.rope import resolve
from npc_engine.text.chat_format import ChatFormat

__all__ = ["try_model"]

N_LINE = 30  # tokens of a player's line
N_PREFILL = 128
N_DECODE = 32
MAX_LINE_S = 2.0  # slower models are judged by the line alone
MAX_DECODE_S = 4.0
N_CHARACTERS = (1, 8)

POLICIES = {
    "full": "Full attention: whole old turns leave the window, the persona never does, and nothing "
    "is read twice.",
    "swa": "Sliding-window attention: whole old turns leave the window; the cache keeps all of it, "
    "so that a reply can be cut back to what the player heard.",
    "recurrent": "Recurrent: a state of constant size however long the talk. It is copied at each "
    "turn, so that taking words back reads that turn alone again. What has left the window leaves "
    "a trace in it, until it goes back to the persona's own state in a pause: as often as "
    "measured drift needs.",
    "hybrid": "Hybrid: a KV cache beside a recurrent state, which is copied at each turn, so that "
    "taking words back reads that turn alone again. What has left the window leaves a trace in it, "
    "until it goes back to the persona's own state in a pause: as often as measured drift needs.",
}


def try_model(model: Model, n_threads: int) -> dict[str, Any]:
    """Return what a model is and how it does here. Takes some seconds.

    Speeds in tokens per second, times in milliseconds, sizes in bytes. Raises NpcError.
    """
    rows = measured(model, n_threads, fresh=True)
    chosen = next((row for row in rows if row.chosen), None)
    window = min(DEFAULT_WINDOW, resolve(model.rope, "auto", None, DEFAULT_WINDOW).n_pos)
    llama = Llama(
        model,
        n_cells=N_LINE + N_PREFILL + N_DECODE + 32,
        n_batch=N_PREFILL,
        n_threads=n_threads,
        layout=chosen.layout if chosen else Layout(),
    )
    renumbering = _renumbering(llama)
    try:
        speed = _speed(llama)
        state = len(llama.export(0)) - _kv_bytes(chosen) * (llama.positions(0)[1] + 1)
    finally:
        llama.close()
    per_character = _kv_bytes(chosen) * window + max(0, state)
    return {
        **_facts(model),
        "positions": str(llama.rope) if model.policy != "recurrent" else "without limit",
        "renumbering": renumbering,
        "kv": [_kv_row(row) for row in rows],
        "speed": speed,
        "window": window,
        "ram": {str(n): model.n_bytes + n * per_character for n in N_CHARACTERS},
    }


def _facts(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "file": model.path.name,
        "file_bytes": model.file.n_bytes,
        "n_parts": len(model.file.parts),
        "arch": model.arch,
        "n_params": model.n_params,
        "quantization": name_of(model.meta("general.file_type")),
        "n_ctx_train": model.n_ctx_train,
        "template_notice": ChatFormat.of(model).notice,
        "policy": model.policy,
        "policy_means": POLICIES[model.policy],
    }


def _renumbering(llama: Llama) -> str:
    """What happens when the positions run out, in words."""
    if llama.model.policy == "recurrent":
        return "None: a recurrent state has no positions."
    if llama.can_shift:
        return "By moving the cached keys, in a pause once 75 % of the positions are used."
    return (
        "By reading again what stands behind the first hole, in a pause once 75 % of the positions "
        "are used: "
        f"the cached keys cannot be moved ({llama.why_no_shift})."
    )


def _kv_row(row: Row) -> dict[str, Any]:
    return {
        "layout": str(row.layout),
        "ms": round(row.ms, 2),
        "bytes_per_token": row.bytes_per_token,
        "chosen": row.chosen,
        "busy": row.busy,
        "at": row.at,
    }


def _kv_bytes(row: Row | None) -> int:
    return row.bytes_per_token if row else 0


def _speed(llama: Llama) -> dict[str, float]:
    """Read a line, read more, speak; `n_threads` as the engine would have them."""
    _timed(llama, 8)  # brings the weights in
    line_s = _timed(llama, N_LINE)
    prefill_tps = N_LINE / line_s
    if line_s < MAX_LINE_S:
        prefill_tps = N_PREFILL / _timed(llama, N_PREFILL)
    n_decoded, decode_s = 0, 0.0
    while n_decoded < N_DECODE and decode_s < MAX_DECODE_S:
        decode_s += _timed(llama, 1)
        n_decoded += 1
    return {
        "n_threads": llama.n_threads,
        "prefill_tps": round(prefill_tps, 1),
        "decode_tps": round(n_decoded / decode_s, 1),
        "first_token_ms": round(line_s * 1000, 1),
    }


def _timed(llama: Llama, n: int) -> float:
    """Decode `n` more tokens in slot 0; return the seconds it took."""
    first = llama.positions(0)[1] + 1
    tokens: Sequence[int] = [997 * (first + i + 1) % llama.model.n_vocab for i in range(n)]
    start = time.perf_counter()
    llama.decode([Span(0, first, tokens, True)])
    return time.perf_counter() - start
