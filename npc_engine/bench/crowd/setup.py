"""What `bench crowd` is to measure, and whether there is room for it.

Owns what all parts share. It measures nothing.
"""

from dataclasses import dataclass

from npc_engine.bench.shared.run import check_memory
from npc_engine.llama.model import Layout, Model

__all__ = ["Setup", "check_room"]


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


def check_room(setup: Setup, layout: Layout, n_slots: int, n_cells: int) -> None:
    """Raise ModelError where so many slots of so many cells do not fit into memory."""
    check_memory(
        setup.model.kv_bytes_per_token(layout) * n_slots * n_cells,
        f"{n_slots} slots x {n_cells} tokens need {{}} MiB",
        "Give fewer characters at once or a smaller depth, leave this part out (--parts), or "
        "close other programs.",
    )
