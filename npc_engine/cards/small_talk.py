"""Small talk for whoever measures: a card, and ordinary lines, never the same twice in a row.

Owns both. The same number of lines is the same talk everywhere. It knows no measurement.
"""

import random
from collections.abc import Iterator, Sequence

__all__ = ["CARD", "lines"]

SEED = 11
CARD = {
    "name": "Mara",
    "description": "Mara keeps the Crooked Lantern, the only inn of a small harbour town. She is "
    "fifty and broad-shouldered, with flour on one sleeve and a slate of debts behind the bar. She "
    "is warm, dry and curious, sees a bargain in everything, and jokes with a straight face. She "
    "lost her brother to the sea and never speaks of it. She knows everybody's business. She "
    "answers in one or two short sentences.",
}
OPENINGS = (
    "",
    "Listen, Mara.",
    "Before I forget it:",
    "I have come a long way in the rain to ask you this.",
    "Don't tell anybody that I asked, please.",
    "You know this town better than the priest and the harbour master together.",
)
QUESTIONS = (
    "What does {who} want with {what}?",
    "Did {who} come in last night and ask for {what}?",
    "Is it true that {who} hid {what} {where}?",
    "Who told {who} that {what} was {where}?",
    "How much would {who} pay for {what}?",
    "Have you ever seen {what} {where}, and was {who} there as well?",
    "If I bring you {what} from {where}, will you speak to {who} for me?",
)
WHO = (
    *("Bram the ferryman", "the post girl", "the captain of the guard", "old Tove", "the smith"),
    *("your cousin", "the man with the grey dog", "the new priest", "that sailor from the south"),
)
WHAT = (
    *("the missing bread", "a blue button", "the lantern over the door", "my brother's sword"),
    *("a barrel of salt", "the king's letter", "the bell of the ferry", "two silver spoons"),
)
WHERE = (
    *("under the bridge", "behind the mill", "in the old lighthouse", "down at the harbour"),
    *("at the night market", "in the smith's cellar", "on the road to the north gate"),
)


def lines(n: int) -> list[str]:
    """Return the player's `n` lines: about 10 to 45 tokens each.

    Openings and questions come in rounds: any few lines in a row are as long as any others, on
    average, so that early turns can be held against late ones.
    """
    rng = random.Random(SEED)  # noqa: S311
    openings, questions = _rounds(OPENINGS, rng), _rounds(QUESTIONS, rng)
    return [_line(next(openings), next(questions), rng) for _ in range(n)]


def _rounds(texts: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Yield all of them in some order, then in another, for ever."""
    while True:
        yield from rng.sample(texts, len(texts))


def _line(opening: str, question: str, rng: random.Random) -> str:
    asked = question.format(who=rng.choice(WHO), what=rng.choice(WHAT), where=rng.choice(WHERE))
    return f"{opening} {asked}".strip()
