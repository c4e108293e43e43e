"""Write the save that later versions must read: `python -m tests.saves.make`.

Owns the characters of `tests/saves/MAJOR.MINOR/`, a slot as this version of the format writes it,
and `expected.json`, which is what this version reads from it. A slot that is there already is never
written again: its version is gone, and that is what makes it worth reading.

They are characters of FakeLlama, signed with a key that everybody knows.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from npc_engine import protocol as m
from npc_engine.kvcache.ledger import Segment
from npc_engine.storage.snapshot import FORMAT
from tests.support.rig import Rig, TimedLlama

FOLDER = Path(__file__).parent
EXPECTED = "expected.json"
KEY = bytes(range(32))
WINDOW = 800


def rig(saves: Path) -> Rig:
    """Return an engine that signs with KEY, and a fake model that all versions share."""
    made = Rig(saves, fake=TimedLlama(n_slots=3, n_cells=WINDOW), window=WINDOW, max_tokens=24)
    made.engine._saving._files.given_key = KEY
    return made


def remembered(rig: Rig, npc: str) -> dict[str, Any]:
    """Return what a character holds, as far as a save is to keep it. Seconds are left ones."""
    character = rig[npc].dialogue
    return {
        "card": character.card.char,
        "temperature": character.sampling.temperature,
        "seed": character.sampling.seed,
        "turn": character.turn,
        "n_evicted": character.ledger.n_evicted,
        "segments": [_line(s, rig.now) for s in character.ledger.segments],
    }


def _line(s: Segment, now: float) -> str:
    """A segment on one line, so that a person can read what is expected."""
    pinned = " pinned" if s.pinned else ""
    left = "" if s.expires is None else f" {s.expires - now:.1f} s left"
    cut = " cut off" if s.cut_off else ""
    what = f"{s.turn} {s.kind} {s.importance:.2f}{pinned}{cut}{left}"
    return f"{what}, {len(s.tokens)} tokens: {s.text!r}"


def _cast(rig: Rig) -> None:
    """Four characters: a long past, none, a scene, and one who is speaking."""
    rig.spawn("mara", card={"name": "Mara", "description": "Keeps the inn.", "first_mes": "Hm?"})
    fact = rig.ask(m.Pin(id=rig.id(), npc="mara", text="You owe Tom a sword."))
    assert isinstance(fact, m.Pinned)
    for day in range(12):
        rig.event(f"Day {day} breaks.", ["mara"], importance=day / 12)
        done = rig.talk("mara", f"Day {day}? Grüße, 旅人.", notes=["It rains."])
        if day == 1:
            assert isinstance(rig.ask(m.Pin(id=rig.id(), npc="mara", turn=done.turn)), m.Pinned)
    assert rig["mara"].dialogue.ledger.n_evicted > 0
    interrupted = rig.say("mara", "Tell me all you know.")
    while rig["mara"].generation is None or len(rig["mara"].dialogue.reply.tokens) < 9:
        rig.step()
    rig.cancel(interrupted)
    rig.until(interrupted)
    rig.event("A dog barks.", ["mara"])
    rig.event("The candle burns down.", ["mara"], expires_s=60.0)

    rig.spawn("Bram", card={"name": "Bram", "description": "Gruff."}, sampling={"temperature": 0.0})

    for name in ("tom", "lena"):
        rig.spawn(name, card={"name": name.title(), "description": f"{name.title()} fishes."})
    rig.until(rig.scene("pier", ["tom", "lena"], about="the weather", turns=3))

    rig.spawn("wren", sampling={"seed": 7, "stop": ["\n\n"]})
    rig.talk("wren", "Hello.", speaker="Tom")
    rig.rest()


def _save(rig: Rig) -> None:
    """Save while one of them speaks, and has more to hear than it can."""
    rig.event("A bell tolls.", ["wren"], expires_s=90.0)
    speaking = rig.say("wren", "Who is it?", max_tokens=20)
    while rig["wren"].generation is None or not rig["wren"].dialogue.reply.tokens:
        rig.step()
    rig.now += 20.0
    rig.event("Somebody knocks.", ["wren"], importance=1.0, expires_s=30.0)
    rig.event("Rain falls.", ["wren"])
    rig.now += 10.0
    assert rig["wren"].generation is not None
    saved = rig.save(name_of(FORMAT))
    assert isinstance(saved, m.Saved)
    rig.until(speaking)


def name_of(version: tuple[int, int]) -> str:
    """Return what the slot of a version is called."""
    return f"{version[0]}.{version[1]}"


def main() -> None:
    """Write the slot of this version, and what is read from it."""
    slot = FOLDER / name_of(FORMAT)
    if slot.exists():
        sys.exit(f"{slot} is there: what a version wrote stays as it is.")
    with tempfile.TemporaryDirectory() as folder:
        saves = Path(folder)
        writer = rig(saves)
        _cast(writer)
        _save(writer)
        writer.close()
        reader = rig(saves)
        loaded = reader.load(slot.name)
        assert isinstance(loaded, m.Loaded)
        assert all(one.source == "payload" for one in loaded.npcs), loaded
        expected = {one.npc: remembered(reader, one.npc) for one in loaded.npcs}
        reader.close()
        slot.mkdir()
        for path in sorted((saves / slot.name).iterdir()):
            (slot / path.name).write_bytes(path.read_bytes())
    text = json.dumps(expected, ensure_ascii=False, indent=1, sort_keys=True)
    (slot / EXPECTED).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
