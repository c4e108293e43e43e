"""How often a character says a line again word for word, with DRY sampling and without.

usage: python benchmarks/repetition.py [MODEL.gguf]

Ten questions to the innkeeper of the examples, with four seeds, both ways in one run.
"""

import sys
import tempfile
from pathlib import Path

from npc_engine import Engine
from npc_engine.example_characters import example_card

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
SEEDS = range(4)
QUESTIONS = (
    "Who are you?",
    "Tell me about the river.",
    "What is in the soup?",
    "Tell me a story about the river, with many details.",
    "Do you know Bram?",
    "And Wren?",
    "Have you a room?",
    "What did you do before the inn?",
    "Who are you, really?",
    "Tell me about the village.",
)


def talk(engine: Engine, dry: float, seed: int) -> list[str]:
    """Return all lines of one talk."""
    engine.spawn("mara", example_card("mara"), sampling={"dry": dry, "seed": seed})
    lines = [line.text for q in QUESTIONS for line in engine.say("mara", q, max_tokens=80)]
    engine.despawn("mara")
    return lines


def main() -> None:
    """Print lines and repeated lines for both."""
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as saves, Engine.open(model, slots=1, saves=saves) as engine:
        for dry in (0.0, 0.8):
            talks = [talk(engine, dry, seed) for seed in SEEDS]
            n_again = sum(len(lines) - len(set(lines)) for lines in talks)
            print(f"dry {dry}: {sum(map(len, talks))} lines, {n_again} of them said before")


if __name__ == "__main__":
    main()
