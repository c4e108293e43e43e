"""Characters who talk with each other: who is present, who speaks next, what each of them hears.

    Mara speaks ---> Bram, Wren overhear each line as it comes, and read it ahead
       | end
       v
    next: whom she spoke to by name, else whom she mentioned last, else who has been silent longest
       | not while a player speaks or waits, anywhere
       v
    Bram answers what he has heard

Rules
 1. Nobody speaks twice in a row, unless a player spoke to him in between.
 2. Whoever is present hears every word once: the talk of members as it is, and what a player says
    to one of them, with the answer. Who joins hears what is said from then on.
 3. A line that is cut short is cut for those who heard it, too, unless they have answered it.
 4. Talk is decoded faster than it is read aloud: when the scene ends before the player has heard
    all of it, the rest is taken back from everybody, back to the last time that a player spoke.
 5. The scene ends once: `turns`, `alone`, `cancelled`, `slow_client`, or an error in a turn.

It knows its members by their inboxes, and no llama, no batch and no socket.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from npc_engine import messages as m
from npc_engine.addressed import called
from npc_engine.hearsay import Cue, Ears, Overheard, Unheard, Unsaid
from npc_engine.npc import CUT_OFF, USER, Npc
from npc_engine.speaking import Speaking
from npc_engine.voice import clean

__all__ = ["Member", "Scene", "Why"]

Send = Callable[[bytes, m.Reply], None]
Why = Literal["turns", "alone", "cancelled", "slow_client"]


class Member(Protocol):
    """What a scene needs of a character."""

    npc: Npc
    ears: Ears | None
    speaking: Speaking | None

    def take(
        self,
        client: bytes,
        request: m.Say | m.Event | Overheard | Unheard | Unsaid,
        order: int,
        max_queue: int,
    ) -> None:
        """Put a request into the inbox."""

    def cancel(self, client: bytes, request_id: str, heard: int | None) -> bool:
        """Cut a reply short, or take its request out of the inbox."""


@dataclass(eq=False)
class _Utterance:
    """One reply as the others hear it. `n_told`: characters that they have heard.

    `turn`: the speaker's, `n_before`: characters of the scene's lines before it.
    """

    number: int
    npc: str
    voice: str
    hearers: list[str]
    turn: int
    n_before: int
    text: str = ""
    n_told: int = 0
    said: Speaking | None = None


class Scene:
    """One scene. `key`: its name as a client of its members.

    `arrivals` numbers requests, and `numbers` utterances: no two of the engine have the same.
    """

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
        self.members: dict[str, Member] = {}  # who has been silent longest comes first
        self.is_over = False
        self.n_turns = 0
        self._send = send
        self._arrivals = arrivals
        self._numbers = numbers
        self._is_ending = False
        self._cue: Cue | None = None  # the turn under way
        self._outcome: m.Done | m.Error | None = None  # its terminal record
        self._talking: dict[str, _Utterance] = {}
        self._last: _Utterance | None = None
        self._turns: list[_Utterance] = []  # since a player spoke last
        self._turns_at_end: dict[str, int] = {}
        self._n_records = self._n_lines = 0
        self._n_spoken = self._n_spoken_before = 0  # characters of lines; of earlier turns

    @property
    def name(self) -> str:
        """What it is called."""
        return self.request.scene

    @property
    def voices(self) -> Sequence[str]:
        """What its members are called."""
        return [member.npc.card.char for member in self.members.values()]

    @property
    def is_waiting(self) -> bool:
        """Whether it is between two turns."""
        return not self.is_over and self._cue is None

    # -- who is there ----------------------------------------------------------------------

    def open(self, members: Sequence[Member]) -> None:
        """Bring everybody together."""
        for member in members:
            self._admit(member)
        about = clean(self.request.about).replace("\n", " ").rstrip(".")
        topic = f" about {about}" if about else ""
        self._tell(f"{_listed(self.voices)} talk with each other{topic}.", list(self.members))

    def join(self, member: Member) -> None:
        """Let one more take part: in what is said from now on."""
        others = _listed(self.voices)
        self._admit(member)
        self._tell(f"{member.npc.card.char} joins {others}.", list(self.members))

    def leave(self, npc: str, gone: bool = False) -> None:
        """Let a member go, its turn cut short; `gone`: it is no more. One alone ends the scene."""
        self.yield_to(npc)
        if self.is_over or npc not in self.members:
            return
        here = [name for name in self.members if not (gone and name == npc)]
        voice = self.members[npc].npc.card.char
        others = _listed([self.members[n].npc.card.char for n in self.members if n != npc])
        self._tell(f"{voice} leaves {others}.", here)
        self.members.pop(npc).ears = None
        self._talking.pop(npc, None)
        if len(self.members) < 2:
            self.end_scene("alone")

    def _admit(self, member: Member) -> None:
        self.members[member.npc.name] = member
        member.ears = self

    # -- turns -----------------------------------------------------------------------------

    def cue(self) -> None:
        """Let the next one speak."""
        name = self._next()
        last = self._last
        text, speaker, answers = f"*{self.members[name].npc.card.char} speaks.*", USER, 0
        if last is not None and name in last.hearers:
            text, speaker, answers = last.text, last.voice, last.number
        self._n_spoken_before = self._n_spoken
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
        self._put(name, self._cue)

    def _next(self) -> str:
        last = self._last
        if last is None:
            first = self.request.first
            return first if first in self.members else next(iter(self.members))
        others = [name for name in self.members if name != last.npc]
        names = {name: _names(self.members[name].npc) for name in others}
        return called(last.text, names) or others[0]

    def take(self, reply: m.Reply) -> None:
        """Take in a record of the turn under way."""
        if isinstance(reply, m.Text | m.Line | m.Gesture):
            self._forward(reply)
        elif isinstance(reply, m.Done | m.Error) and self._cue is not None:
            self._outcome = reply
            if self._cue.npc not in self._talking:  # it never began
                self._end_turn()

    def _forward(self, reply: m.Text | m.Line | m.Gesture) -> None:
        kind = str(reply.__struct_config__.tag)
        if isinstance(reply, m.Line):
            reply.index, self._n_lines = self._n_lines, self._n_lines + 1
            self._n_spoken += len(reply.text)
        if kind in self.request.stream:
            self._stream(reply)

    def _stream(self, reply: m.Text | m.Line | m.Gesture | m.Turn) -> None:
        reply.id = self.request.id
        reply.seq, self._n_records = self._n_records, self._n_records + 1
        self._send(self.client, reply)

    def _end_turn(self) -> None:
        outcome, self._outcome, self._cue = self._outcome, None, None
        if isinstance(outcome, m.Error):
            self._finish(m.Error(
                id=self.request.id, code=outcome.code, message=outcome.message, help=outcome.help
            ))  # fmt: skip
        elif isinstance(outcome, m.Done) and outcome.turn:
            self.n_turns += 1
            self._stream(m.Turn(npc=outcome.npc, seq=0, text=outcome.text, turn=outcome.turn))
            if self.n_turns >= self.request.turns:
                self.end_scene("turns")

    def yield_to(self, npc: str) -> None:
        """Break off the turn of this member: what has come as lines of it was said."""
        if self._cue is not None and self._cue.npc == npc:
            self._break_off(self._n_spoken - self._n_spoken_before)

    def _break_off(self, heard: int | None) -> None:
        if self._cue is not None:
            self.members[self._cue.npc].cancel(self.key, self._cue.id, heard)

    def end_scene(self, why: Why, heard: int | None = None) -> None:
        """End it. `heard`: how many characters of its lines, in all, reached the player."""
        if self.is_over or self._is_ending:
            return
        self._is_ending = True
        self._break_off(None if heard is None else max(0, heard - self._n_spoken_before))
        if heard is not None:
            self._take_back(heard)
        self._finish(
            m.SceneDone(id=self.request.id, scene=self.name, n_turns=self.n_turns, reason=why)
        )

    def take_back_late(self, heard: int) -> bool:
        """The same after its end, once; False when a member has said or begun something since."""
        if self._turns_at_end != self._turns_now or any(m.speaking for m in self.members.values()):
            return False
        self._turns_at_end = {}
        self._take_back(heard)
        return True

    @property
    def _turns_now(self) -> dict[str, int]:
        return {name: member.npc.turn for name, member in self.members.items()}

    def _take_back(self, heard: int) -> None:
        """Let nobody know of what lies beyond the first `heard` characters (rule 4)."""
        unsaid = [u for u in self._turns if u.n_before >= heard]
        last = next((u for u in reversed(self._turns) if u.n_before < heard), None)
        gone = frozenset(u.number for u in unsaid)
        for name in self.members:
            turn = min((u.turn for u in unsaid if u.npc == name), default=0)
            said = last.said if last is not None and last.npc == name else None
            n_heard = heard - last.n_before if last is not None else 0
            self._put(name, Unsaid(gone, turn, said, n_heard))
        if last is not None and last.said is not None:
            text = last.said.heard(heard - last.n_before)
            if text != last.text:
                self._unsay(last, text)

    def _finish(self, reply: m.Reply) -> None:
        self.is_over = True
        self._turns_at_end = self._turns_now
        for member in self.members.values():
            member.ears = None
        self._send(self.client, reply)

    # -- what is heard (rules 2 and 3) -----------------------------------------------------

    def begin(self, npc: str, request: m.Say) -> None:
        """A member begins to answer somebody."""
        others = [name for name in self.members if name != npc]
        voice = self.members[npc].npc.card.char
        utterance = _Utterance(
            next(self._numbers), npc, voice, others, self.members[npc].npc.turn, self._n_spoken
        )
        self._talking[npc] = utterance
        if isinstance(request, Cue):
            self._turns.append(utterance)
            return
        self._turns.clear()
        said = clean(request.text)
        if said:
            self._tell(f"{clean(request.speaker)} says to {voice}: {said}", others)

    def hear(self, npc: str, text: str) -> None:
        """A member has said this much so far."""
        utterance = self._talking.get(npc)
        if utterance is not None:
            self._pass_on(utterance, text)

    def end(self, npc: str, said: Speaking, text: str, interrupted: bool) -> None:
        """A member's reply has ended."""
        utterance = self._talking.pop(npc, None)
        if utterance is None:
            return
        if len(text) < utterance.n_told:
            self._unsay(utterance, text)
        elif text:
            self._pass_on(utterance, text + (CUT_OFF if interrupted else ""))
        utterance.text = text
        utterance.said = None if interrupted else said
        self._last = utterance
        self.members[npc] = self.members.pop(npc)
        if self._outcome is not None and self._cue is not None and self._cue.npc == npc:
            self._end_turn()

    def unsay(self, npc: str, text: str) -> None:
        """A member's last reply is cut back after its end."""
        if self._last is not None and self._last.npc == npc:
            self._unsay(self._last, text)
            self._last.text = text

    def _pass_on(self, utterance: _Utterance, text: str) -> None:
        more = text[utterance.n_told :]
        utterance.n_told = len(text)
        for name in utterance.hearers:
            self._put(name, Overheard(utterance.number, utterance.voice, more))

    def _unsay(self, utterance: _Utterance, text: str) -> None:
        for name in utterance.hearers:
            self._put(name, Unheard(utterance.number, utterance.voice, text))

    def _tell(self, what: str, names: list[str]) -> None:
        """Let members perceive something."""
        event = m.Event(id=self.name, npcs=names, text=what)
        for name in names:
            self._put(name, event)

    def _put(self, name: str, request: m.Say | m.Event | Overheard | Unheard | Unsaid) -> None:
        if name in self.members:  # it may have left since
            self.members[name].take(self.key, request, next(self._arrivals), max_queue=1)


def _names(npc: Npc) -> list[str]:
    return [npc.card.name, npc.card.nickname]


def _listed(names: Sequence[str]) -> str:
    """Names in words: `Mara, Bram and Wren`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
