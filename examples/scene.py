"""Mara and Bram talk about the bread that goes missing, and the player cuts in.

python examples/scene.py [MODEL.gguf]
"""

import sys
from pathlib import Path

from npc_engine import Engine

ROOT = Path(__file__).parent.parent
CHARACTERS = ROOT / "examples" / "characters"
MODEL = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
NAMES = {"mara": "Mara", "bram": "Bram"}


def main(model: str) -> None:
    with Engine.open(model, window=1024, slots=2) as engine:
        for npc in NAMES:
            engine.spawn(npc, CHARACTERS / f"{npc}.toml")
        print("Mara and Bram at the ferry landing. They do not see you yet.\n")
        talk = engine.scene(
            "landing", list(NAMES), "the bread that goes missing at night", turns=6, max_tokens=60
        )
        spoken_up = False
        for line in talk:
            print(f"{NAMES[line.npc]}: {line.text}")
            if len(talk.turns) >= 2 and not spoken_up:
                spoken_up = True
                speak_up(engine, "bram", "I saw a light on the river last night.")
        print(f"\nThey had {talk.done.n_turns} turns ({talk.done.reason}).")
        # Mara was there, so she knows what you said to Bram.
        speak_up(engine, "mara", "What did I tell Bram?")


def speak_up(engine: Engine, npc: str, text: str) -> None:
    print(f"\nYou, to {NAMES[npc]}: {text}")
    for line in engine.say(npc, text, max_tokens=60):
        print(f"{NAMES[line.npc]}: {line.text}")
    print()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(MODEL))
