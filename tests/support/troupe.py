"""A rig whose characters each have lines of their own, for scenes.

Beside what the rig checks, every chat must be well-formed: users and assistants in turns.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from npc_engine import protocol as m
from tests.support.fake_llama import END
from tests.support.rig import Rig, TimedLlama

LEAD = bytes([0]) + b"assistant\n"  # a markup token is a zero byte here
CHAT = re.compile(
    r"[^|]*\|\n(\|user\n[^|]*\|\n\|assistant\n[^|]*\|\n)*"
    r"(\|user\n[^|]*(\|\n\|assistant\n[^|]*)?)?",
)
_BYTES = [*range(256), *[0] * (END - 255)]


def text_of(tokens: Sequence[int]) -> bytes:
    return bytes(map(_BYTES.__getitem__, tokens))


class Troupe(Rig):
    """`lines`: what each character says, turn by turn, and then from the first one on again."""

    def __init__(
        self,
        folder: Path,
        lines: dict[str, list[str]],
        *,
        recurrent: bool = False,
        n_slots: int = 4,
        n_pos: int = 100_000,
        world: str = "",
        **keys: Any,
    ) -> None:
        self.lines = lines
        self.n_said = dict.fromkeys(lines, 0)
        self._well_formed: dict[str, list[int]] = {}  # what each held when it was looked at
        fake = TimedLlama(
            n_cells=keys.get("window", 2000),
            mind=self._mind,
            n_slots=n_slots,
            n_pos=n_pos,
            world=world,
        )
        fake.keeps_states, fake.can_shift = recurrent, not recurrent
        super().__init__(folder, fake=fake, **{"window": 2000, **keys})
        for npc in lines:
            self.spawn(npc, card=card(npc))

    def _mind(self, tokens: Sequence[int]) -> int:
        text = text_of(tokens)
        name = text.split(b"I am ")[1].split(b".")[0].decode()
        if LEAD not in text:  # a look, before anything was said
            return END
        said = text.rsplit(LEAD, 1)[1].removeprefix(f"{name}:".encode())
        key = name.lower()
        if not said:
            self.n_said[key] += 1
        script = self.lines[key]
        line = b" " + script[(self.n_said[key] - 1) % len(script)].encode()
        return line[len(said)] if len(said) < len(line) else END

    def check(self) -> None:
        super().check()
        for npc in self.engine.stage.characters:
            tokens = self.tokens(npc)
            if tokens != self._well_formed.get(npc):
                assert CHAT.fullmatch(self.talk_of(npc)), self.talk_of(npc)
                self._well_formed[npc] = tokens

    def play(self, *npcs: str, **keys: Any) -> str:
        """Run a scene to its end and return its id."""
        target = self.scene("inn", list(npcs), **keys)
        self.until(target)
        return target

    def speakers(self, target: str) -> list[str]:
        return [r.npc for r in self.records(target) if isinstance(r, m.Turn)]

    def talk_of(self, npc: str) -> str:
        """What a character holds behind its persona, markup as `|`."""
        text = text_of(self.tokens(npc)).decode("utf-8", "replace").split("I am ", 1)[1]
        return text.replace("|", "/").replace("\0", "|")

    def spoken(self, target: str) -> str:
        """All lines of a scene, end to end: what `heard` counts."""
        return "".join(self.texts(target, m.Line))

    def until_line(self, target: str, n: int) -> None:
        """Step until a scene has streamed `n` lines."""
        self._loop(lambda: len(self.texts(target, m.Line)) >= n)


def card(npc: str) -> dict[str, str]:
    return {"name": npc.capitalize(), "system_prompt": f"I am {npc.capitalize()}."}


MakeTroupe = Callable[..., Troupe]
