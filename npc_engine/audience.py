"""Those who are present while one of them talks, and what each of them hears.

    Mara: "Good day." ---> ears of the scene ---> inboxes of Bram and Wren: more of utterance 7

Owns who is there and what was said. It knows its members by their inboxes: no turns, no client, no
token.

Rules
 1. Whoever is present hears every word once: the talk of members as it is, and what a player says
    to one of them, with the answer. Who joins hears what is said from then on.
 2. A line that is cut short is cut for those who heard it, too, unless they have answered it.
 3. Talk is decoded faster than it is read aloud. What the player has not heard when it ends is
    taken back from everybody, back to the last time that a player spoke to one of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from npc_engine.hearsay import Cue, Ears, Overheard, Said, Unheard, Unsaid
from npc_engine.messages import Event, Say
from npc_engine.npc import CUT_OFF, Npc
from npc_engine.voice import clean

__all__ = ["Audience", "Member", "Utterance"]

Heard = Say | Event | Overheard | Unheard | Unsaid


class Member(Protocol):
    """What is needed of a character."""

    npc: Npc
    ears: Ears | None

    @property
    def is_speaking(self) -> bool:
        """Whether it is amid a reply."""

    def take(self, client: bytes, request: Heard, order: int, max_queue: int) -> None:
        """Put a request into the inbox."""

    def cancel(self, client: bytes, request_id: str, heard: int | None) -> bool:
        """Cut a reply short, or take its request out of the inbox."""


@dataclass(eq=False)
class Utterance:
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
    said: Said | None = None


class Audience:
    """The members of one scene. `key`: its name as a client of theirs.

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
        self._cued: list[Utterance] = []  # since a player spoke last

    @property
    def voices(self) -> Sequence[str]:
        """What its members are called."""
        return [member.npc.card.char for member in self.members.values()]

    def is_talking(self, npc: str) -> bool:
        """Whether a member is amid a reply that the others hear."""
        return npc in self._talking

    def admit(self, member: Member) -> None:
        """Let a character be present."""
        self.members[member.npc.name] = member
        member.ears = self

    def dismiss(self, npc: str) -> None:
        """Let a member go."""
        self.members.pop(npc).ears = None
        self._talking.pop(npc, None)

    def close(self) -> None:
        """Hear no more. Who was there at the end is still known."""
        for member in self.members.values():
            member.ears = None

    # -- what members tell of their talk (hearsay.Ears) --------------------------------------

    def begin(self, npc: str, request: Say) -> None:
        """A member begins to answer somebody."""
        others = [name for name in self.members if name != npc]
        speaker = self.members[npc].npc
        utterance = self._talking[npc] = Utterance(
            next(self._numbers), npc, speaker.card.char, others, speaker.turn, self.n_spoken
        )
        if isinstance(request, Cue):
            self._cued.append(utterance)
            return
        self._cued.clear()
        said = clean(request.text)
        if said:
            self.tell(f"{clean(request.speaker)} says to {speaker.card.char}: {said}", others)

    def hear(self, npc: str, text: str) -> None:
        """A member has said this much so far."""
        utterance = self._talking.get(npc)
        if utterance is not None:
            self._pass_on(utterance, text)

    def end(self, npc: str, said: Said, text: str, interrupted: bool) -> None:
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
        self.last = utterance
        self.members[npc] = self.members.pop(npc)
        self._on_end(npc)

    def unsay(self, npc: str, text: str) -> None:
        """A member's last reply is cut back after its end."""
        if self.last is not None and self.last.npc == npc:
            self._unsay(self.last, text)

    # -- what members are told ---------------------------------------------------------------

    def put(self, npc: str, request: Heard) -> None:
        """Put something into a member's inbox."""
        if npc in self.members:  # it may have left since
            self.members[npc].take(self._key, request, next(self._arrivals), max_queue=1)

    def tell(self, what: str, names: list[str]) -> None:
        """Let members perceive something."""
        for name in names:
            self.put(name, Event(id=self.name, npcs=names, text=what))

    def take_back(self, heard: int) -> None:
        """Let nobody know what lies beyond the first `heard` characters of all lines (rule 3)."""
        unsaid = [u for u in self._cued if u.n_before >= heard]
        cut = next((u for u in reversed(self._cued) if u.n_before < heard), None)
        rest = None
        if cut is not None and cut.said is not None:
            text = cut.said.heard(heard - cut.n_before)
            if text != cut.text:
                rest = (cut.said.turn, text, cut.said.n_bytes(text))
        gone = frozenset(u.number for u in unsaid)
        for name in self.members:
            turn = min((u.turn for u in unsaid if u.npc == name), default=0)
            mine = rest if cut is not None and cut.npc == name else None
            self.put(name, Unsaid(gone, turn, mine))
        if cut is not None and rest is not None:
            self._unsay(cut, rest[1])

    def _pass_on(self, utterance: Utterance, text: str) -> None:
        more = text[utterance.n_told :]
        utterance.n_told = len(text)
        for name in utterance.hearers:
            self.put(name, Overheard(utterance.number, utterance.voice, more))

    def _unsay(self, utterance: Utterance, text: str) -> None:
        utterance.text = text
        for name in utterance.hearers:
            self.put(name, Unheard(utterance.number, utterance.voice, text))
