"""Those who are present while one of them talks, and what each of them hears.

    Mara: "Good day." ---> her audience ---> inboxes of Bram and Wren: more of utterance 7

Owns who is there and what was said. It knows its members by their inboxes: no turns, no client, no
token.

Rules
 1. Whoever is present hears every word once: the talk of members as it is, and what a player says
    to one of them, with the answer. Who joins hears what is said from then on.
 2. A line that is cut short is cut for those who heard it, too, unless they have answered it.
 3. Talk is decoded faster than it is read aloud. What the player has not heard when it ends is
    taken back from everybody, back to the last time that a player spoke to one of them.
 4. An utterance knows who was there when it began, for as long as it may be cut or taken back:
    also those who have left since, and when the scene is over.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from npc_engine.dialogue.dialogue import CUT_OFF, Dialogue
from npc_engine.dialogue.overheard import Cue, Overheard, Unheard, Unsaid
from npc_engine.protocol import Event, Say
from npc_engine.text.chat_format import clean
from npc_engine.text.detokenizer import Detokenizer

__all__ = ["Audience", "Member", "Utterance"]

Heard = Say | Event | Overheard | Unheard | Unsaid


class Member(Protocol):
    """What is needed of a character."""

    dialogue: Dialogue
    audience: "Audience | None"

    @property
    def is_speaking(self) -> bool:
        """Whether it is amid a reply."""

    def take(self, client: bytes, request: Heard, order: int, max_queue: int) -> None:
        """Put a request into the inbox."""

    def cancel(self, client: bytes, request_id: str, heard: int | None) -> bool:
        """Cut a reply short, or take its request out of the inbox."""


@dataclass(eq=False)
class Utterance:
    """One reply as the others hear it. `n_told`: characters that they have heard of it.

    `hearers`: who was present when it began. `n_before`: characters of the scene's lines before it.
    `said`: its text once it has ended.
    """

    number: int
    speaker: Member
    hearers: list[Member]
    n_before: int
    audience: "Audience"
    text: str = ""
    n_told: int = 0
    is_cut: bool = False  # after some of it was heard
    said: Detokenizer | None = None

    @property
    def npc(self) -> str:
        """The name of who says it."""
        return self.speaker.dialogue.name

    @property
    def name(self) -> str:
        """What who says it is called."""
        return self.speaker.dialogue.card.char

    def grow(self, text: str) -> None:
        """So much is said by now, in whole lines: pass on what is new to those who are still there.

        Nothing once the speaker has left.
        """
        if not self.audience.hears(self):
            return
        more = text[self.n_told :]
        self.n_told = len(text)
        for hearer in self.hearers:
            if self.audience.is_here(hearer):
                self.audience.give(hearer, Overheard(self.number, self.name, more))

    def end(self, said: Detokenizer, text: str, interrupted: bool) -> None:
        """It has ended: `text` is what the speaker remembers of it."""
        if len(text) < self.n_told:
            self.unsay(text)
        elif text:
            self.grow(text + (CUT_OFF if interrupted else ""))
        self.text, self.said = text, said
        self.audience.end(self)

    def unsay(self, text: str) -> None:
        """Cut it for all who have heard it, wherever they are now (rule 4)."""
        self.text, self.is_cut = text, True
        for hearer in self.hearers:
            self.audience.give(hearer, Unheard(self.number, self.name, text))

    def cut_to(self, n_characters: int) -> tuple[int, str, int] | None:
        """Cut it to what was heard of its lines; what is left of it, None when that is all."""
        if self.said is None:
            return None
        text = self.said.text[: self.said.heard(n_characters)]
        if len(text) >= len(self.text):
            return None
        self.text, self.is_cut = text, True
        return self.number, text, self.said.raw_offset(len(text))


class Audience:
    """The members of one scene, who hear each other. `key`: its name as a client of theirs.

    `arrivals` numbers requests, and `numbers` utterances: no two of the engine have the same.
    `on_end` is called with the name of a member whose reply has ended, when all have heard it.
    """

    def __init__(
        self,
        name: str,
        key: bytes,
        arrivals: Iterator[int],
        numbers: Iterator[int],
        on_end: Callable[[str], None],
    ) -> None:
        self.name = name
        self.members: dict[str, Member] = {}  # who has been silent longest comes first
        self.last: Utterance | None = None
        self.n_spoken = 0  # characters of all lines so far
        self._key = key
        self._arrivals = arrivals
        self._numbers = numbers
        self._on_end = on_end
        self._talking: dict[str, Utterance] = {}
        self._answer: Utterance | None = None  # to the player who spoke last
        self._cued: list[Utterance] = []  # since then

    @property
    def names(self) -> Sequence[str]:
        """What its members are called."""
        return [member.dialogue.card.char for member in self.members.values()]

    def is_talking(self, npc: str) -> bool:
        """Whether a member is amid a reply that the others hear."""
        return npc in self._talking

    def hears(self, utterance: Utterance) -> bool:
        """Whether a reply is under way here: not that of one who has left."""
        return self._talking.get(utterance.npc) is utterance

    def is_here(self, member: Member) -> bool:
        """Whether a character is present, and no other of its name."""
        return self.members.get(member.dialogue.name) is member

    def admit(self, member: Member) -> None:
        """Let a character be present."""
        self.members[member.dialogue.name] = member
        member.audience = self

    def dismiss(self, npc: str) -> None:
        """Let a member go."""
        self.members.pop(npc).audience = None
        self._talking.pop(npc, None)

    def close(self) -> None:
        """Hear no more. Who was there at the end is still known."""
        self._talking.clear()
        for member in self.members.values():
            member.audience = None

    # -- what members tell of their talk -----------------------------------------------------

    def begin(self, npc: str, request: Say) -> Utterance:
        """A member begins to answer somebody."""
        speaker = self.members[npc]
        others = [member for member in self.members.values() if member is not speaker]
        utterance = self._talking[npc] = Utterance(
            next(self._numbers), speaker, others, self.n_spoken, self
        )
        if isinstance(request, Cue):
            self._cued.append(utterance)
            return utterance
        self._answer = utterance
        self._cued.clear()
        said = clean(request.text)
        if said:
            line = f"*{clean(request.speaker)} says to {speaker.dialogue.card.char}: {said}*"
            number = next(self._numbers)
            for member in others:
                self.give(member, Overheard(number, "", line))
        return utterance

    def end(self, utterance: Utterance) -> None:
        """A member's reply has ended, and all who hear it have heard that."""
        npc = utterance.npc
        if self._talking.get(npc) is not utterance:
            return
        del self._talking[npc]
        self.last = utterance
        self.members[npc] = self.members.pop(npc)
        self._on_end(npc)

    # -- what members are told ---------------------------------------------------------------

    def give(self, member: Member, request: Heard) -> None:
        """Put something into an inbox."""
        member.take(self._key, request, next(self._arrivals), max_queue=1)

    def put(self, npc: str, request: Heard) -> None:
        """Put something into a member's inbox."""
        if npc in self.members:  # it may have left since
            self.give(self.members[npc], request)

    def tell(self, what: str, names: list[str]) -> None:
        """Let members perceive something."""
        for name in names:
            self.put(name, Event(id=self.name, npcs=names, text=what))

    def take_back(self, heard: int) -> None:
        """Let nobody know what lies beyond the first `heard` characters of all lines (rule 3)."""
        unsaid = [u for u in self._cued if u.n_before >= heard]
        cut = next((u for u in reversed(self._cued) if u.n_before < heard), None)
        rest = cut.cut_to(heard - cut.n_before) if cut is not None else None
        gone = frozenset(u.number for u in unsaid)
        involved = chain.from_iterable([u.speaker, *u.hearers] for u in self._cued)
        for member in dict.fromkeys(involved):
            is_cut = cut is not None and cut.speaker is member
            self.give(member, Unsaid(gone, rest if is_cut else None))
        for u in [*([self._answer] if self._answer else []), *self._cued]:
            if u.is_cut and u.number not in gone:  # also for those whose answers are taken back
                u.unsay(u.text)
