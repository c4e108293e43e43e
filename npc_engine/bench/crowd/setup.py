"""What `bench crowd` is to measure, what a part of it is, and whether there is room for it.

Owns what all parts share. It measures nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

from npc_engine.bench.crowd.figures import Measured
from npc_engine.errors import ModelError
from npc_engine.llama.model import Layout, Model

__all__ = ["RESERVE_BYTES", "Part", "Setup", "check_room"]

RESERVE_BYTES = 1 << 30


@dataclass(frozen=True)
class Setup:
    """What is measured. `layout`: the best one here. Counts in tokens where nothing else is said.

    `n_steps`: steps of each way in each round. `n_swaps`: characters called in. `turn_s`: seconds
    of each count of threads in each round, beside `n_busy` busy processes. `idle_s`: how long an
    idle server is watched.
    """

    model: Model
    layout: Layout
    n_threads: int
    speakers: tuple[int, ...]
    depth: int
    n_steps: int
    n_rounds: int
    fair_s: float
    n_characters: int
    n_slots: int
    parked_depth: int
    n_swaps: int
    turn_s: float
    n_busy: int
    idle_s: float


@dataclass(frozen=True)
class Part:
    """`n_units`: how often it yields. `measure` raises NpcError."""

    about: str
    n_units: Callable[[Setup], int]
    measure: Callable[[Setup, Measured], Iterator[str]]


def check_room(setup: Setup, layout: Layout, n_slots: int, n_cells: int) -> None:
    """Refuse what would make the machine swap: then nothing measured means anything.

    Raises ModelError.
    """
    need = setup.model.kv_bytes_per_token(layout) * n_slots * n_cells
    free = psutil.virtual_memory().available
    if need + RESERVE_BYTES > free:
        raise ModelError(
            f"{n_slots} slots x {n_cells} tokens need {need >> 20} MiB; {free >> 20} MiB are free.",
            "Give fewer characters at once or a smaller depth, leave this part out (--parts), or "
            "close other programs.",
        )
