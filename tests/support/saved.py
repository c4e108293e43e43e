"""A saves folder as an engine leaves it, for those who look at it without one."""

from pathlib import Path

from npc_engine import protocol as m
from tests.support.rig import Rig, scripted


def saves_of_a_talk(folder: Path) -> Path:
    """Mara and Bob talk in two slots: `tavern` with a backup, and `cellar` with Mara alone."""
    rig = Rig(folder, window=400)
    rig.fake.mind = scripted("The sea is cold.")
    rig.spawn("mara", card={"name": "Mara Venn", "system_prompt": "Keeps the inn."})
    rig.spawn("Bob", card={"name": "Bob", "system_prompt": "A smith."})
    for turn in range(3):
        rig.event(f"Bell {turn} rings.", ["mara"])
        rig.talk("mara", f"Line {turn}?")
    rig.ask(m.Pin(id="pin", npc="mara", text="The key is under the stair."))
    rig.rest()
    assert isinstance(rig.save("tavern"), m.Saved)
    rig.talk("Bob", "Hello.")
    rig.event("It rains.", ["mara"])
    rig.rest()
    assert isinstance(rig.save("tavern"), m.Saved)
    assert isinstance(rig.save("cellar", ["mara"]), m.Saved)
    rig.close()
    return folder


def journaled_talk(folder: Path) -> Path:
    """Mara in a slot `harbour`, with a journal of two turns and an event since."""
    rig = Rig(folder, window=400)
    rig.fake.mind = scripted("The sea is cold.")
    rig.spawn("mara", card={"name": "Mara Venn", "system_prompt": "Keeps the inn."})
    rig.talk("mara", "Line 0?")
    assert isinstance(rig.save("harbour", mode="journal"), m.Saved)
    rig.talk("mara", "Line 1?")
    rig.talk("mara", "Line 2?")
    rig.event("A ship comes in.", ["mara"])
    rig.rest()
    rig.close()
    return folder


def damage(path: Path, at: int = -400) -> None:
    """Change one byte of a file: by default, of its payload."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
