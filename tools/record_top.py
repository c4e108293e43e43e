"""Draw docs/top.svg, the picture in docs/top.md: a running engine amid a talk of many.

usage: .venv/bin/python tools/record_top.py MODEL.gguf [docs/top.svg]

Whatever the engine does at that moment is what the picture shows. Needs the extra [chat].
"""

import sys
import time

from recording import console, recorded, write_svg

from npc_engine.cli.chat.script import await_reading
from npc_engine.cli.chat.talk import Talk
from npc_engine.cli.terminal import Screen
from npc_engine.cli.top.picture import draw
from npc_engine.cli.top.sample import Sample, rates
from npc_engine.cli.window_bars import FANCY
from npc_engine.client.speech import Speech
from npc_engine.client.zmq_client import Client
from npc_engine.protocol import NpcInfo

__all__ = ["main"]

WIDTH = 92
FLAGS = ("--window", "900", "--slots", "6", "--max-tokens", "120")
VILLAGERS = {
    "tove": ("Old Tove", "Old Tove mends nets on the quay and has seen three kings buried."),
    "smith": ("Ilse", "Ilse is the smith: loud, generous, and proud of her hinges."),
    "miller": ("Jory", "Jory runs the mill, owes money everywhere, and means well."),
    "priest": ("Father Anselm", "Father Anselm is new here, young, and afraid of the bell tower."),
    "guard": ("Captain Brandt", "Captain Brandt guards the north gate. He trusts nobody."),
    "fisher": ("Sanne", "Sanne fishes alone, at night, and sells to whoever asks no questions."),
}
GOSSIP = "What do you say to the stranger who came in last night?"
AT_ONCE = 5
LOOK_S = 0.5
DEADLINE_S = 120.0


def play(talk: Talk, endpoint: str) -> None:
    """Let the village know one another, then listen in while all talk at once."""
    engine = talk.engine
    for npc, card in talk.cast.items():
        engine.spawn(npc, card)
    for npc, (name, description) in VILLAGERS.items():
        engine.spawn(npc, {"name": name, "description": description})
    for npc in [*talk.cast, *VILLAGERS]:
        engine.say(npc, "Good evening. How was your day?", max_tokens=60).wait()
    engine.event("A wet stranger stumbles in and bars the door behind him.")
    await_reading(engine)
    first, *others = [*talk.cast, *VILLAGERS][:AT_ONCE]
    speeches = [engine.say(npc, GOSSIP, priority="ambient") for npc in others]
    speeches += [engine.say(first, text) for text in ("Do you know that man?", "And his name?")]
    before, now = listen(engine, speeches, endpoint)
    show(talk.screen, before, now)
    for speech in speeches:
        speech.close()


def listen(engine: object, speeches: list[Speech], endpoint: str) -> tuple[Sample, Sample]:
    """Look until so many speak at once as fit; return two looks that follow each other."""
    assert isinstance(engine, Client)
    deadline = time.monotonic() + DEADLINE_S
    before = look(engine, endpoint)
    while time.monotonic() < deadline:
        for speech in speeches:
            speech.poll()
        time.sleep(LOOK_S)
        now = look(engine, endpoint)
        if sum(_speaks(npc) for npc in now.npcs) >= AT_ONCE - 1:
            return before, now
        before = now
    raise SystemExit("They never spoke at once.")


def _speaks(npc: NpcInfo) -> bool:
    return npc.speaking and (npc.n_pending or 0) <= 1


def look(client: Client, endpoint: str) -> Sample:
    """Return how the engine is doing."""
    welcome = client.welcome
    slots = welcome.limits["slots"]
    return Sample(endpoint, welcome.model["name"], slots, client.list_npcs(), client.stats())


def show(screen: Screen, before: Sample, now: Sample) -> None:
    """Draw what `npc-engine top` would show."""
    with screen.frames() as put:
        put(draw(now, rates(before, now), WIDTH, glyphs=FANCY))


def main() -> None:
    """Record the engine and write the picture."""
    model = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) > 2 else "docs/top.svg"
    endpoint = "tcp://127.0.0.1:5757"  # in the place of the port that this engine has by chance
    screen = console(WIDTH)
    with recorded(screen, model, *FLAGS) as talk:
        play(talk, endpoint)
    write_svg(screen, f"npc-engine top {endpoint}", out)


if __name__ == "__main__":
    main()
