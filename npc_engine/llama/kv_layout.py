"""Which KV cache layout decodes fastest: measured once per model, library build and CPU.

Owns the candidates, the race between them and the choice. `context` decodes, `measurements` keeps
the result. It knows no settings beyond `--kv-type` and `--flash-attn`.

Rule 1. What the flags state is used; what they leave on auto is measured.
Rule 2. Candidates lose no quality that can be measured: q4_0 does (5 % of perplexity), so it is
        used only where it is asked for.
Rule 3. The candidates take turns, one token each, and what counts is the median of a candidate's
        share in a round: whatever else the machine does hits all of them alike. It goes on until
        odd rounds and even ones agree.
Rule 4. Within 5 % of the fastest, the smaller cache wins, then the plainer one.
Rule 5. How busy others were is kept with the result, and what memory was too short for. What was
        measured beside them, or without a candidate for want of memory, is measured again as soon
        as the machine is quiet and has it. A busy one never replaces a quiet one's result.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Protocol

import msgspec
import psutil

from npc_engine.cpu import BUSY, Watch, others_are_busy
from npc_engine.errors import BackendError, ConfigError, ModelError
from npc_engine.llama.layout_trial import LayoutTrial, room_for
from npc_engine.llama.measurements import cpu_name, keep, recall
from npc_engine.llama.model import Layout, Model, build_id

__all__ = ["CANDIDATES", "Row", "choose_layout", "measured"]

log = logging.getLogger("npc_engine.llama.kv_layout")

# The plainest first: it is the one that is measured if time allows only one.
CANDIDATES = (
    Layout("f16", "f16", False),
    Layout("f16", "f16", True),
    Layout("q8_0", "f16", False),
    Layout("bf16", "bf16", False),
    Layout("q8_0", "q8_0", True),
)
KIND = "kv-layout"
TIE = 1.05
BUDGET_S = 3.0
MIN_ROUNDS = 16
MAX_ROUNDS = 64
PLAIN_TYPES = ("f32", "f16", "bf16")


@dataclass(frozen=True)
class Row:
    """One measured layout: `ms` for a step of one speaker behind 900 tokens of history.

    `busy`: the part of the cores that others took meanwhile, 1.0 = all, None where nobody tells;
    `at`: when it was, in seconds since 1970.
    """

    layout: Layout
    ms: float
    bytes_per_token: int
    chosen: bool
    busy: float | None = None
    at: float = 0.0


class Runner(Protocol):
    """One candidate in the race."""

    bytes_per_token: int

    def step(self) -> float:
        """Decode one token; return the milliseconds it took."""

    def close(self) -> None:
        """Free its memory."""


Open = Callable[[Layout], Runner]
Result = tuple[float, int]  # milliseconds of a step, bytes per token

_Ms = Annotated[float, msgspec.Meta(gt=0, lt=1e12)]
_Time = Annotated[float, msgspec.Meta(ge=0, le=1 << 33)]


class _Kept(msgspec.Struct, frozen=True):
    """A race as it is kept: results by a layout's name, and `Row`'s `busy` and `at`.

    `wants`: free bytes that would let those take part which were left out for want of them; else 0.
    """

    results: dict[str, tuple[_Ms, int]]
    busy: float | None
    at: _Time
    wants: int = 0

    @property
    def is_quiet(self) -> bool:
        """Whether others let it be (rule 5)."""
        return self.busy is None or self.busy <= BUSY

    @property
    def is_final(self) -> bool:
        """Whether nothing stood in its way that does not now, as far as memory goes (rule 5)."""
        has_room = 0 < self.wants <= psutil.virtual_memory().available
        return self.is_quiet and not has_room


def choose_layout(model: Model, kv_type: str, flash_attn: str, n_threads: int) -> Layout:
    """Return the KV cache layout for `--kv-type` and `--flash-attn`, measured where auto.

    Takes up to about 3 s the first time, more on a model whose one step takes longer; later runs
    use the kept result. Raises ConfigError where the two contradict each other.
    """
    candidates = [c for c in _candidates(kv_type, flash_attn) if model.takes(c)]
    if not candidates:
        raise ConfigError(
            f"kv_type is {kv_type!r}: this model's heads cannot be quantized in blocks of 32.",
            "Use --kv-type auto, f16 or bf16.",
        )
    if len(candidates) == 1:
        return candidates[0]
    if model.policy == "recurrent":  # a state of constant size, and no KV cache
        return candidates[0]
    rows = _rows(model, candidates, n_threads, fresh=False)
    chosen = next((row for row in rows if row.chosen), None)
    if chosen is None:
        log.warning("No KV cache layout could be measured; %s is used.", candidates[0])
        return candidates[0]
    log.info("KV cache calibrated: %s (%.1f ms a step)", chosen.layout, chosen.ms)
    return chosen.layout


def measured(model: Model, n_threads: int, fresh: bool = False) -> list[Row]:
    """Return all candidates that could be measured, for `doctor`; empty for a recurrent model.

    `fresh` measures again and replaces the kept result (but for rule 5).
    """
    if model.policy == "recurrent":
        return []
    return _rows(model, [c for c in CANDIDATES if model.takes(c)], n_threads, fresh)


def _candidates(kv_type: str, flash_attn: str) -> Sequence[Layout]:
    """Return the layouts that the flags allow, at least one. Raises ConfigError."""
    flash = {"on": (True,), "off": (False,)}.get(flash_attn, (False, True))
    if kv_type == "auto":
        return tuple(c for c in CANDIDATES if c.flash_attn in flash)
    given = [Layout.parse(kv_type, f) for f in flash]
    allowed = tuple(g for g in given if g.flash_attn or g.type_v in PLAIN_TYPES)
    if not allowed:
        raise ConfigError(
            f"kv_type is {kv_type!r} and flash_attn is {flash_attn!r}: "
            "llama.cpp reads quantized V values with flash attention only.",
            "Use --flash-attn on (or auto), or --kv-type q8_0/f16, which quantizes K alone.",
        )
    return allowed


def _rows(model: Model, candidates: Sequence[Layout], n_threads: int, fresh: bool) -> list[Row]:
    key = _key(model, candidates, n_threads)
    kept = _kept(recall(KIND, key), candidates)
    if kept is None or fresh or not (kept.is_final or others_are_busy()):
        new = _measure(model, candidates, n_threads)
        if new.results and (kept is None or new.is_quiet or not kept.is_quiet):
            kept = new
            keep(KIND, key, msgspec.to_builtins(kept))
    if kept is None:
        return []
    results = {c: kept.results[str(c)] for c in candidates if str(c) in kept.results}
    best = _choose(results)
    return [
        Row(layout, ms, size, layout == best, kept.busy, kept.at)
        for layout, (ms, size) in results.items()
    ]


def _measure(model: Model, candidates: Sequence[Layout], n_threads: int) -> _Kept:
    watch, free = Watch(), psutil.virtual_memory().available
    results = _race(candidates, lambda layout: LayoutTrial(model, layout, n_threads))
    by_name = {str(layout): result for layout, result in results.items()}
    needs = (room_for(model, layout) for layout in candidates if layout not in results)
    wants = max((need for need in needs if need > free), default=0)
    return _Kept(by_name, watch.busy(), time.time(), wants)


def _key(model: Model, candidates: Sequence[Layout], n_threads: int) -> str:
    """Whatever may change the order of the candidates, and nothing else."""
    how = f"{n_threads} threads, {model.n_gpu_layers} GPU layers, extra {model.extra_bufts}"
    what = "; ".join(map(str, candidates))
    return " | ".join((model.fingerprint(), build_id(), cpu_name(), how, what))


def _kept(value: object, candidates: Sequence[Layout]) -> _Kept | None:
    """Return a kept race, None when there is none or it makes no sense."""
    try:
        kept = msgspec.convert(value, _Kept)
    except msgspec.ValidationError:
        return None
    return kept if any(str(c) in kept.results for c in candidates) else None


def _choose(results: dict[Layout, Result]) -> Layout:
    limit = min(ms for ms, _ in results.values()) * TIE
    near = [layout for layout, (ms, _) in results.items() if ms <= limit]
    return min(near, key=lambda layout: results[layout][1])  # the first, so plainest, of equals


def _race(
    candidates: Sequence[Layout], open_runner: Open, clock: Callable[[], float] = time.perf_counter
) -> dict[Layout, Result]:
    """Let the candidates run until it is clear who wins, or the time is over.

    Candidates that cannot be opened, or not in half of the time, are left out.
    """
    start = clock()
    runners: dict[Layout, Runner] = {}
    with ExitStack() as stack:
        for layout in candidates:
            if runners and clock() - start > BUDGET_S / 2:
                break
            try:
                runners[layout] = open_runner(layout)
            except (ModelError, BackendError) as e:
                log.debug("%s is not measured: %s", layout, e.message)
            else:
                stack.callback(runners[layout].close)
        rounds: list[list[float]] = []
        while runners and len(rounds) < MAX_ROUNDS:
            rounds.append([runner.step() for runner in runners.values()])
            if clock() - start > BUDGET_S or _is_clear(rounds):
                break
        sizes = [runner.bytes_per_token for runner in runners.values()]
    return dict(zip(runners, zip(_usual(rounds), sizes, strict=True), strict=True))


def _usual(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Return each column's usual milliseconds: its median share of a row, of the median row."""
    totals = [sum(times) for times in rounds]
    return [
        median(totals) * median(ms / total for ms, total in zip(column, totals, strict=True))
        for column in zip(*rounds, strict=True)
    ]


def _is_clear(rounds: Sequence[Sequence[float]]) -> bool:
    """Say whether the winner of the odd rounds is as good in the even ones, and the reverse."""
    if len(rounds) < MIN_ROUNDS:
        return False
    odd, even = _usual(rounds[::2]), _usual(rounds[1::2])
    winners = (odd.index(min(odd)), even.index(min(even)))
    return all(half[w] <= TIE * min(half) for half in (odd, even) for w in winners)
