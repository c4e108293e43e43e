"""A talk in the terminal: what is said goes to a character, its lines come back.

Owns what is shown of each thing that a player can do; `loop` reads what is typed. It uses an engine
through the user's verbs and a screen through its words; it knows no socket, no process and no
colour.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from npc_engine.cards.card import Card
from npc_engine.cli.terminal import Screen
from npc_engine.client.verbs import Verbs
from npc_engine.errors import BadMessage, UnknownNpc
from npc_engine.protocol import NAME_PATTERN, Gesture, Line, NpcInfo, Text, TranscriptEntry
from npc_engine.text.sentences import LineSplitter
from npc_engine.text.tables import counted
from npc_engine.text.visible import on_one_row

__all__ = ["DEFAULT_SLOT", "Talk"]

DEFAULT_SLOT = "talk"
Streams = tuple[Literal["text", "line", "gesture"], ...]
LIVE: Streams = ("text", "line", "gesture")
PLAIN: Streams = ("line", "gesture")


@dataclass
class Talk:
    """A player and a character at a time.

    `cast` are the cards that may be called in by name, `slot` is what /save and /load take without
    a name, `saves` is the folder that the engine saves to, if that is known.
    """

    engine: Verbs
    screen: Screen
    cast: Mapping[str, Card]
    slot: str = DEFAULT_SLOT
    saves: Path | None = None
    npc: str = field(default="", init=False)

    def meet(self, npc: str) -> None:
        """Turn to a character; one of the cast that is not there yet comes in and greets."""
        if npc in self._present():
            self.npc = npc
            return
        if npc not in self.cast:
            known = sorted({*self._present(), *self.cast})
            raise UnknownNpc(f"Nobody is called {npc!r}.", f"There are: {', '.join(known)}.")
        card = self.cast[npc]
        with self.screen.waiting(f"{card.char} is coming ..."):
            spawned = self.engine.spawn(npc, card)
        self.npc = npc
        if spawned.notice:
            self.screen.note(spawned.notice)
        if spawned.greeting:
            self._greet(spawned.greeting)

    def say(self, text: str) -> None:
        """Say something and show the reply as it comes; Ctrl-C cuts it short."""
        self.screen.name(self.display_name())
        speech = self.engine.say(self.npc, text, stream=LIVE if self.screen.is_live else PLAIN)
        n_heard = 0
        try:
            with self.screen.typing() as typing:
                unfinished = ""
                for record in speech:
                    if isinstance(record, Text):
                        unfinished += record.text
                        typing(unfinished)
                        continue
                    unfinished = _after(unfinished, record)
                    typing(unfinished)
                    if isinstance(record, Line):
                        self.screen.line(record.text)
                        n_heard += len(record.text)
                    else:
                        self.screen.gesture(record.text)
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt):  # nobody waits for its end: it is dropped unread
                speech.cancel(heard=n_heard)
        if speech.done is not None:
            self.screen.status(speech.done, self._present().get(self.npc))

    def event(self, text: str) -> None:
        """Let everybody there perceive something."""
        n_heard = self.engine.event(text)
        self.screen.note(f"Noticed by {counted(n_heard, 'character')}; they remember it.")

    def save(self, slot: str = "") -> None:
        """Save everybody there."""
        saved = self.engine.save(self._slot(slot))
        who = ", ".join(saved.npcs)
        size = f"{saved.n_bytes / 1e6:.1f} MB in {saved.ms:.0f} ms"
        self.screen.note(f"Saved {who} in slot {saved.slot!r}: {size}.")
        if self.saves is not None:
            self.screen.note(f"It is in {self.saves / saved.slot}")

    def load(self, slot: str = "") -> None:
        """Bring back everybody whom a slot holds, as they were."""
        loaded = self.engine.load(self._slot(slot))
        who = ", ".join(one.npc for one in loaded.npcs)
        self.screen.note(f"Loaded {who} from slot {loaded.slot!r} in {loaded.ms:.0f} ms.")
        for one in loaded.npcs:
            if one.notice:
                self.screen.note(f"{one.npc}: {one.notice}")

    def rewind(self, turns: str = "") -> None:
        """Let the character forget its last turn, or so many."""
        n_forgotten = self.engine.rewind(self.npc, _number(turns or "1")).n_forgotten
        self.screen.note(f"{self.display_name()} has forgotten {counted(n_forgotten, 'turn')}.")

    def transcript(self, last: str = "") -> None:
        """Show the talk as the character remembers it, or its last turns."""
        told = self.engine.transcript(self.npc, _number(last) if last else None)
        if told.n_forgotten:
            self.screen.note(f"Its window has lost {counted(told.n_forgotten, 'turn')}.")
        self.screen.rows(
            [
                (f"{turn.turn}{'*' if turn.pinned else ''}", self._who_said(entry), _words(entry))
                for turn in told.turns
                for entry in turn.entries
            ]
        )

    def _who_said(self, entry: TranscriptEntry) -> str:
        return self.display_name() if entry.kind == "reply" else on_one_row(entry.speaker or "")

    def who(self, name: str = "") -> None:
        """List the characters, or turn to one of them."""
        present = self._present()
        if name:
            self.meet(self._called(name, present))
            self.screen.note(f"You are talking with {self.display_name()}.")
            return
        rows = [(_marked(info.npc, self.npc), info.name, _state(info)) for info in present.values()]
        rows += [
            (f"  {npc}", card.char, "not here: /who " + npc)
            for npc, card in self.cast.items()
            if npc not in present
        ]
        self.screen.rows(rows)

    def window(self, name: str = "") -> None:
        """Draw the window of the character, or of another one."""
        npc = self._called(name, self._present()) if name else self.npc
        self.screen.windows([(self.engine.window(npc), self.display_name(npc))])

    def n_tokens(self) -> int:
        """Return how many tokens the character holds, persona included."""
        return self._present()[self.npc].n_tokens

    def display_name(self, npc: str = "") -> str:
        """Return the name on the card of the character, or of another one."""
        npc = npc or self.npc
        card = self.cast.get(npc)
        return card.char if card else self._present()[npc].name

    def _present(self) -> dict[str, NpcInfo]:
        return {info.npc: info for info in self.engine.list_npcs()}

    def _called(self, name: str, present: Mapping[str, NpcInfo]) -> str:
        """Return the id of the character that is meant by a name, however it is written."""
        ids = {info.name.casefold(): npc for npc, info in present.items()}
        ids = {card.char.casefold(): npc for npc, card in self.cast.items()} | ids
        ids |= {npc.casefold(): npc for npc in (*self.cast, *present)}
        return ids.get(name.casefold(), name)

    def _greet(self, greeting: str) -> None:
        self.screen.name(self.display_name())
        splitter = LineSplitter()
        for record in (*splitter.feed(greeting), *splitter.finish()):
            show = self.screen.line if record.kind == "line" else self.screen.gesture
            show(record.text)

    def _slot(self, name: str) -> str:
        """Return the save slot that is meant; raises BadMessage for what cannot be one."""
        slot = name or self.slot
        if not re.match(NAME_PATTERN, slot):
            raise BadMessage(
                f"A save cannot be called {slot!r}.",
                "Use up to 64 letters (A to Z), digits and _ - . with no dot in front.",
            )
        return slot


def _after(unfinished: str, record: Line | Gesture) -> str:
    """Return what was streamed beyond a sentence or gesture that is complete now."""
    _, found, rest = unfinished.partition(record.text)
    if isinstance(record, Gesture):
        rest = rest.lstrip("*_)]")  # the mark that closed it
    return rest.lstrip() if found else ""


def _number(text: str) -> int:
    """Return how many turns are meant; raises BadMessage."""
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise BadMessage(f"{text!r} is no number of turns.", "Use a whole number from 1 on.")
    return int(text)


def _words(entry: TranscriptEntry) -> str:
    text = on_one_row(entry.text)
    return f"~ {text} ~" if entry.kind == "event" else text


def _state(info: NpcInfo) -> str:
    return f"{info.state}, {info.n_tokens} of {info.n_window} tokens"


def _marked(npc: str, current: str) -> str:
    return f"* {npc}" if npc == current else f"  {npc}"
