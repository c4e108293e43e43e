"""Characters who talk with each other: who speaks next, what the client gets, and how it ends.

    Mara speaks ---> the others hear each line as it comes, and read it ahead (`audience`)
       | end
       v
    next: whom she spoke to by name, else whom she mentioned last, else who has been silent longest
       | not while a player speaks or waits, anywhere (`scenes`)
       v
    Bram answers what he has heard

Rules
 1. Nobody speaks twice in a row, unless a player spoke to him in between.
 2. A turn is a `say` from the scene to its member, and its records come back here: the client gets
    them as one stream, with one `seq` and one `index`.
 3. A member breaks off for a player who speaks to it: what has come as whole lines was said.
 4. The scene ends once: `turns`, `alone`, `cancelled`, `slow_client`, or an error in a turn.

It knows no llama, no batch and no socket.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from npc_engine import protocol as m
from npc_engine.dialogue.overheard import Cue
from npc_engine.dialogue.paragraphs import USER, own_turn
from npc_engine.scenes.audience import Audience, Member
from npc_engine.scenes.turn_taking import called
from npc_engine.text.chat_format import clean

__all__ = ["Scene", "Send", "Why"]

Send = Callable[[bytes, m.Reply], None]
Why = Literal["turns", "alone", "cancelled", "slow_client"]


class Scene:
    """One scene. `key`: its name as a client of its members. See `Audience` for the counters."""

    def __init__(
        self,
        key: bytes,
        client: bytes,
        request: m.Scene,
        send: Send,
        *,
        arrivals: Iterator[int],
        numbers: Iterator[int],
    ) -> None:
        self.key = key
        self.client = client
        self.request = request
        self.audience = Audience(request.scene, key, arrivals, numbers, self._heard_out)
        self.members = self.audience.members
        self.is_over = False
        self.n_turns = 0
        self._send = send
        self._is_ending = False
        self._cue: Cue | None = None  # the turn under way
        self._outcome: m.Done | m.Error | None = None  # its terminal record
        self._n_before = 0  # characters of the lines before it
        self._n_records = self._n_lines = 0
        self._said_at_end: dict[str, tuple[int, int]] = {}

    @property
    def name(self) -> str:
        """What it is called."""
        return self.request.scene

    @property
    def is_waiting(self) -> bool:
        """Whether it is between two turns."""
        return not self.is_over and self._cue is None

    # -- who is there ----------------------------------------------------------------------

    def open(self, members: Sequence[Member]) -> None:
        """Bring everybody together."""
        for member in members:
            self.audience.admit(member)
        about = clean(self.request.about).replace("\n", " ").rstrip(".")
        topic = f" about {about}" if about else ""
        names = _listed(self.audience.names)
        self.audience.tell(f"{names} talk with each other{topic}.", list(self.members))

    def join(self, member: Member) -> None:
        """Let one more take part: in what is said from now on."""
        others = _listed(self.audience.names)
        self.audience.admit(member)
        self.audience.tell(f"{member.dialogue.card.char} joins {others}.", list(self.members))

    def leave(self, npc: str, gone: bool = False) -> None:
        """Let a member go, its turn cut short; `gone`: it is no more. One alone ends the scene."""
        self.yield_to(npc)
        if self.is_over or npc not in self.members:
            return
        others = [name for name in self.members if name != npc]
        names = [self.members[name].dialogue.card.char for name in (npc, *others)]
        here = others if gone else [npc, *others]
        self.audience.tell(f"{names[0]} leaves {_listed(names[1:])}.", here)
        self.audience.dismiss(npc)
        if len(self.members) < 2:
            self.end("alone")

    # -- turns -----------------------------------------------------------------------------

    def cue(self) -> None:
        """Let the next one speak."""
        name = self._next()
        last = self.audience.last
        text, speaker, answers = own_turn(self.members[name].dialogue.card.char), USER, 0
        if last is not None and self.members[name] in last.hearers:
            text, speaker, answers = last.text, last.name, last.number
        self._n_before = self.audience.n_spoken
        self._cue = Cue(
            id=f"turn {self.n_turns}",
            npc=name,
            text=text,
            speaker=speaker,
            priority=self.request.priority,
            max_tokens=self.request.max_tokens,
            stream=["text", "line", "gesture"],
            answers=answers,
        )
        self.audience.put(name, self._cue)

    def _next(self) -> str:
        last = self.audience.last
        if last is None:
            first = self.request.first
            return first if first in self.members else next(iter(self.members))
        others = [name for name in self.members if name != last.npc]
        cards = {name: self.members[name].dialogue.card for name in others}
        names = {name: [card.name, card.nickname] for name, card in cards.items()}
        return called(last.text, names) or others[0]

    def take(self, reply: m.Reply) -> None:
        """Take in a record of the turn under way."""
        if isinstance(reply, m.Text | m.Line | m.Gesture):
            self._forward(reply)
        elif isinstance(reply, m.Done | m.Error) and self._cue is not None:
            self._outcome = reply
            never_began = isinstance(reply, m.Done) and not reply.turn
            # One that has begun ends when all have heard it. Whoever is taken out of the inbox may
            # be amid another reply, which the others hear, too.
            if never_began or not self.audience.is_talking(self._cue.npc):
                self._end_turn()

    def _forward(self, reply: m.Text | m.Line | m.Gesture) -> None:
        if isinstance(reply, m.Line):
            reply.index, self._n_lines = self._n_lines, self._n_lines + 1
            self.audience.n_spoken += len(reply.text)
        if reply.__struct_config__.tag in self.request.stream:
            self._stream(reply)

    def _stream(self, reply: m.Text | m.Line | m.Gesture | m.Turn) -> None:
        reply.id = self.request.id
        reply.seq, self._n_records = self._n_records, self._n_records + 1
        self._send(self.client, reply)

    def _heard_out(self, npc: str) -> None:
        """Everybody has heard the end of what a member said, to whomever."""
        if self._outcome is not None and self._cue is not None and self._cue.npc == npc:
            self._end_turn()

    def _end_turn(self) -> None:
        outcome, self._outcome, self._cue = self._outcome, None, None
        if isinstance(outcome, m.Error):
            outcome.id = self.request.id
            self._finish(outcome)
        elif isinstance(outcome, m.Done) and outcome.turn:
            self.n_turns += 1
            self._stream(m.Turn(npc=outcome.npc, seq=0, text=outcome.text, turn=outcome.turn))
            if self.n_turns >= self.request.turns:
                self.end("turns")

    def yield_to(self, npc: str) -> None:
        """Break off the turn of this member (rule 3)."""
        if self._cue is not None and self._cue.npc == npc:
            self._break_off(self.audience.n_spoken - self._n_before)

    def _break_off(self, heard: int | None) -> None:
        if self._cue is not None:
            self.members[self._cue.npc].cancel(self.key, self._cue.id, heard)

    # -- ends (rule 4) ---------------------------------------------------------------------

    def end(self, why: Why, heard: int | None = None) -> None:
        """End it. `heard`: how many characters of its lines, in all, reached the player."""
        if self.is_over or self._is_ending:
            return
        self._is_ending = True
        self._break_off(None if heard is None else max(0, heard - self._n_before))
        if heard is not None:
            self.audience.take_back(heard)
        self._finish(
            m.SceneDone(id=self.request.id, scene=self.name, n_turns=self.n_turns, reason=why)
        )
        if heard is not None:  # once: the numbers of turns that are gone are given out again
            self._said_at_end = {}

    def take_back_late(self, heard: int) -> bool:
        """Cut it to what was heard after its end, once.

        False when a member has said something since, or is about to.
        """
        members = self.members.values()
        if self._said_at_end != self._said_now or any(member.is_speaking for member in members):
            return False
        self._said_at_end = {}
        self.audience.take_back(heard)
        return True

    def _finish(self, reply: m.Reply) -> None:
        self.is_over = True
        self._said_at_end = self._said_now
        self.audience.close()
        self._send(self.client, reply)

    @property
    def _said_now(self) -> dict[str, tuple[int, int]]:
        dialogues = {name: member.dialogue for name, member in self.members.items()}
        return {name: (one.last_spoken, one.n_rewinds) for name, one in dialogues.items()}


def _listed(names: Sequence[str]) -> str:
    """Names in words: `Mara, Bram and Wren`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
