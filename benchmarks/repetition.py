"""How often a character says a line again word for word, and how often it misspells a name.

usage: python benchmarks/repetition.py [MODEL.gguf]

Ten questions with four seeds to the innkeeper of the examples, and to one with long names, without
DRY and with it, without the repeat penalty and with it, in one run. Misspelt is a word with a
capital that is nearly one of the names on the card, and stands nowhere in the card or the question.
"""

import difflib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from npc_engine import Engine
from npc_engine.cards.examples import example_card

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
ABOUT_NAMES = (
    "Who are you?",
    "What is your full title?",
    "Who is your brother?",
    "Where do you keep watch?",
    "Say your name and your title once more.",
    "Who rules the city?",
    "What is the name of your brother, and of the city?",
    "Who are you to the High Chancellor?",
    "What do you swear by?",
    "Tell me all of your titles, please.",
)
WARDEN = {
    "name": "Theodora Quill",
    "description": "Theodora Quill, Warden of the Nine Lanterns, keeps watch at Ysmereth Gate in "
    "the city of Vaelthorne. Her brother is Caspian Quill. High Chancellor Oriveth Dunmarrow rules "
    "Vaelthorne. She always gives names and titles in full, and swears by the Nine Lanterns.",
}
NAMES = (
    *("Theodora", "Quill", "Warden", "Lanterns", "Ysmereth", "Vaelthorne", "Caspian"),
    *("Chancellor", "Oriveth", "Dunmarrow"),
)
_CAPITAL = re.compile(r"\b[A-Z][^\W\d_]{3,}")


def talk(
    engine: Engine, card: Any, questions: tuple[str, ...], sampling: dict[str, Any]
) -> list[str]:
    """Return all lines of one talk."""
    engine.spawn("mara", card, sampling=sampling)
    lines = [line.text for q in questions for line in engine.say("mara", q, max_tokens=80)]
    engine.despawn("mara")
    return lines


def misspelt(lines: list[str]) -> tuple[int, list[str]]:
    """Return how many names there are, and the words that are nearly one."""
    words = [word for line in lines for word in _CAPITAL.findall(line)]
    known = {*_CAPITAL.findall(f"{WARDEN['description']} {' '.join(ABOUT_NAMES)}")}
    # A plural or a genitive without its apostrophe is no mistake of the sampler.
    wrong = [
        word
        for word in words
        if word not in known
        and word.rstrip("s") not in known
        and difflib.get_close_matches(word, NAMES, n=1, cutoff=0.75)
    ]
    return sum(word in NAMES for word in words), wrong


def main() -> None:
    """Print lines, repeated lines and misspelt names for all four."""
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    with tempfile.TemporaryDirectory() as saves, Engine.open(model, slots=1, saves=saves) as engine:
        for dry in (0.0, 0.8):
            for penalty in (1.0, 1.1):
                ways = [{"dry": dry, "repeat_penalty": penalty, "seed": seed} for seed in SEEDS]
                talks = [talk(engine, example_card("mara"), QUESTIONS, way) for way in ways]
                n_again = sum(len(lines) - len(set(lines)) for lines in talks)
                named = [talk(engine, WARDEN, ABOUT_NAMES, way) for way in ways]
                n_names, wrong = misspelt([line for lines in named for line in lines])
                n_named_again = sum(len(lines) - len(set(lines)) for lines in named)
                print(
                    f"dry {dry}, repeat_penalty {penalty}: {sum(map(len, talks))} lines, "
                    f"{n_again} of them said before; of long names {sum(map(len, named))} lines, "
                    f"{n_named_again} said before, {n_names} names, {len(wrong)} misspelt "
                    f"{sorted(set(wrong))}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
