"""Does calibration's short cut rank KV cache layouts as a history that was really read does?

    python benchmarks/kv_layout.py models/SmolLM2-135M-Instruct.Q4_1.gguf [threads]

All tracks take turns, so that what else the machine does hits all alike. Milliseconds of a step of
one speaker behind 896 tokens: the median and the best of all rounds.
"""

import sys
from statistics import median

from npc_engine.errors import BackendError, ModelError
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.kv_layout import CANDIDATES
from npc_engine.llama.layout_trial import N_HISTORY, LayoutTrial
from npc_engine.llama.model import Layout, Model

N_ROUNDS = 40
N_BATCH = 256


class ReadTrack(LayoutTrial):
    """A track whose history was read token by token, in a cache as the engine has it."""

    def __init__(self, model: Model, layout: Layout, n_threads: int) -> None:
        self._model = model
        self._llama = Llama(
            model, n_cells=1024, n_batch=N_BATCH, n_threads=n_threads, layout=layout
        )
        tokens = [(i * 37) % 5000 + 300 for i in range(N_HISTORY)]
        for first in range(0, N_HISTORY, N_BATCH):
            self._llama.decode([Span(0, first, tokens[first : first + N_BATCH], True)])
        self._position = N_HISTORY
        self.step()


def main() -> None:
    model = Model(sys.argv[1])
    n_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    tracks: dict[Layout, tuple[LayoutTrial, LayoutTrial]] = {}
    for layout in CANDIDATES:
        try:
            tracks[layout] = (
                LayoutTrial(model, layout, n_threads),
                ReadTrack(model, layout, n_threads),
            )
        except (ModelError, BackendError) as e:
            print(f"{layout}: {e}")
    times: dict[tuple[Layout, int], list[float]] = {(t, i): [] for t in tracks for i in (0, 1)}
    for _ in range(N_ROUNDS):
        for layout, pair in tracks.items():
            for i, track in enumerate(pair):
                times[layout, i].append(track.step())
    _print(tracks, times)


def _print(
    layouts: dict[Layout, tuple[LayoutTrial, LayoutTrial]],
    times: dict[tuple[Layout, int], list[float]],
) -> None:
    print(f"{'':36}{'short cut':>20}{'really read':>20}")
    print(f"{'KV cache':36}" + f"{'median':>12}{'best':>8}" * 2)
    for layout in layouts:
        cells = (f"{median(times[layout, i]):12.2f}{min(times[layout, i]):8.2f}" for i in (0, 1))
        print(f"{layout!s:36}" + "".join(cells))
    for i, name in enumerate(("short cut", "really read")):
        order = sorted(layouts, key=lambda layout: median(times[layout, i]))
        print(f"{name}: " + " < ".join(str(o).replace("flash attention", "fa") for o in order))


if __name__ == "__main__":
    main()
