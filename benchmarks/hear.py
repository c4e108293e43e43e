"""What `hear` is worth: time to the first token of a reply to a long line, read ahead or not.

usage: python benchmarks/hear.py [MODEL.gguf]

The same 60-token lines, by turns: typed in pieces while the engine has nothing else to do, or said
at once. Medians of one run, on one thread.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from npc_engine import Engine
from npc_engine.example_characters import example_card

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
N_TURNS = 20
N_PIECES = 6
LINE = (
    "Number {}: before the tide turns I must know who came over the bridge last night, what he "
    "carried under his coat, whether he spoke to the ferryman or to the girl who brings the post, "
    "and why nobody in this town will say his name aloud when I ask about the letter?"
)


def rest(engine: Engine) -> None:
    """Let the engine read what there is to read."""
    while engine.patience() == 0:
        engine.step()


def first_token_ms(engine: Engine, line: str, typed: bool) -> tuple[float, int]:
    """Return the milliseconds to the first token, and the tokens that were read for it."""
    if typed:
        for i in range(1, N_PIECES + 1):
            engine.hear("mara", line[: len(line) * i // N_PIECES])
            rest(engine)
    n_before = engine.stats()["n_prefilled"]
    done = engine.say("mara", line, max_tokens=8).wait()
    n_read = engine.stats()["n_prefilled"] - n_before
    rest(engine)
    return done.stats.ttft_ms, n_read


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    found: dict[bool, list[tuple[float, int]]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory() as saves,
        Engine.open(model, slots=1, threads=1, window=1024, saves=saves) as engine,
    ):
        engine.spawn("mara", example_card("mara"))
        rest(engine)
        for i in range(N_TURNS):
            for typed in (i % 2 == 0, i % 2 == 1):
                found[typed].append(first_token_ms(engine, LINE.format(i), typed))
    said, typed_ms = (median(ms for ms, _ in found[typed]) for typed in (False, True))
    n_said, n_typed = (median(n for _, n in found[typed]) for typed in (False, True))
    print(f"said at once: first token after {said:.0f} ms, {n_said:.0f} tokens read")
    print(f"heard before: first token after {typed_ms:.0f} ms, {n_typed:.0f} tokens read")
    print(f"{said / typed_ms:.1f} times sooner")


if __name__ == "__main__":
    main()
