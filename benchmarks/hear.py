"""What reading ahead is worth: time to the first token of a reply, with it and without.

usage: python benchmarks/hear.py [MODEL.gguf] [--personas]

The same 60-token lines, by turns: typed in pieces while the engine has nothing else to do, or said
at once. With --personas: the first word to characters whom no slot was left for, by turns with
their personas read in idle time, and as if there was no room to park them. Medians of one run, on
one thread.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from npc_engine import Engine
from npc_engine.cards.examples import example_card

DEFAULT_MODEL = Path(__file__).parent.parent / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
N_TURNS = 20
N_PIECES = 6
LINE = (
    "Number {}: before the tide turns I must know who came over the bridge last night, what he "
    "carried under his coat, whether he spoke to the ferryman or to the girl who brings the post, "
    "and why nobody in this town will say his name aloud when I ask about the letter?"
)

N_ROUNDS = 5
N_CHARACTERS = 20
N_SLOTS = 3
ASKED = {"the 20th": 19, "the 10th": 9}  # read last, so in a slot; parked since
PERSONA = (
    "{0} is the number of this one's house, and {1} how many sheep there are. Knows every path "
    "over the moor, and which of them is safe after rain; has a brother at sea of whom nobody has "
    "heard since the spring; trusts no one who asks for the way to the old mill. Speaks in short "
    "sentences, never of the war, and laughs seldom. Would give the last coat to a child, and "
    "nothing at all to the bailiff; keeps a dog that barks at priests; wants to leave before the "
    "winter comes, and has said so for eleven years."
)


def rest(engine: Engine) -> None:
    """Let the engine read what there is to read."""
    while engine.core.patience() == 0:
        engine.core.step()


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


def lines(model: Path) -> None:
    """Half a line is read while it is typed."""
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


# -- personas --------------------------------------------------------------------------------------


def first_words_ms(engine: Engine, ahead: bool) -> list[tuple[float, int]]:
    """Return the milliseconds to the first token of each one asked, and the tokens read for it."""
    parking = engine.core.stage.parking
    budget = parking.budget
    parking.budget = budget if ahead else 0  # with no room, idle time reads for the slots only
    for i in range(N_CHARACTERS):
        card = {"name": f"N{i}", "system_prompt": PERSONA.format(i, 7 * i + 3)}
        engine.spawn(f"n{i}", card)
    rest(engine)
    parking.budget = budget
    found = []
    for i in ASKED.values():
        n_before = engine.stats()["n_prefilled"]
        done = engine.say(f"n{i}", "Good evening.", max_tokens=8).wait()
        found.append((done.stats.ttft_ms, engine.stats()["n_prefilled"] - n_before))
    for i in range(N_CHARACTERS):
        engine.despawn(f"n{i}")
    return found


def personas(model: Path) -> None:
    """Personas beyond the slots are read while nobody speaks."""
    found: dict[bool, list[list[tuple[float, int]]]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory() as saves,
        Engine.open(model, slots=N_SLOTS, threads=1, window=1024, saves=saves) as engine,
    ):
        for i in range(N_ROUNDS):
            for ahead in (i % 2 == 0, i % 2 == 1):
                found[ahead].append(first_words_ms(engine, ahead))
    for which, name in enumerate(ASKED):
        times = {}
        for ahead in (False, True):
            asked = [round_[which] for round_ in found[ahead]]
            times[ahead] = median(ms for ms, _ in asked)
            n_read = median(n for _, n in asked)
            how = "read ahead" if ahead else "not read"
            print(f"{name}, {how}: first token after {times[ahead]:.0f} ms, {n_read:.0f} tokens")
        print(f"{times[False] / times[True]:.1f} times sooner")


def main() -> None:
    parser = argparse.ArgumentParser(description="What reading ahead is worth.")
    parser.add_argument("model", nargs="?", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--personas", action="store_true", help="whole personas, not half lines")
    args = parser.parse_args()
    (personas if args.personas else lines)(args.model)


if __name__ == "__main__":
    main()
