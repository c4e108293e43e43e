"""The characters that are spawned, and what a step does with them.

Owns names, limits and the slots of the KV cache. It knows no socket, and of files only that
`parking` may need some.
"""

import itertools
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from npc_engine import protocol as m
from npc_engine.cards.card import Card
from npc_engine.characters.broadcast import Broadcast
from npc_engine.characters.character import Character
from npc_engine.characters.replies import Samples, Send, Why
from npc_engine.characters.runnable import MOST_AT_ONCE, Runnable
from npc_engine.characters.save_limit import check_card
from npc_engine.characters.unread_events import Flood
from npc_engine.config import DEFAULT_WINDOW, Sampling, Settings
from npc_engine.dialogue.dialogue import Dialogue
from npc_engine.dialogue.overheard import Cue
from npc_engine.dialogue.paragraphs import USER
from npc_engine.errors import (
    BackendError,
    BadMessage,
    Busy,
    ConfigError,
    Internal,
    NpcExists,
    TooLarge,
    UnknownNpc,
)
from npc_engine.kvcache.cache import Cache
from npc_engine.kvcache.parking import Parking, auto_budget
from npc_engine.scenes.scenes import Scenes
from npc_engine.scheduling.batching import Claim
from npc_engine.scheduling.prefix_cache import PrefixCache
from npc_engine.scheduling.scheduler import Batch
from npc_engine.scheduling.slots import Moves, Slots
from npc_engine.text.chat_format import ChatFormat

__all__ = ["Stage", "StageBackend"]

log = logging.getLogger("npc_engine")

ATTENTION_S = 60.0  # a hint that nobody has followed is none any more


class StageBackend(Cache, Samples, Protocol):
    """What characters need of the backend: room in the KV cache, and a sampler."""

    @property
    def n_slots(self) -> int:
        """Sequences that the KV cache holds at once."""

    @property
    def n_cells(self) -> int:
        """Tokens that one slot holds."""

    @property
    def n_pos(self) -> int:
        """Positions that the model can do."""

    def logits(self, row: int) -> Any:
        """Return a row's logits, float32 of shape (n_vocab,)."""


class Stage:
    """All characters by name. `send` takes replies, `clock` gives seconds.

    `run` does a job on the thread that writes files; without it they are written at once.
    `n_added` counts all who have ever come. Who is `paused` stands still: it neither takes in nor
    says anything.
    """

    def __init__(
        self,
        backend: StageBackend,
        chat_format: ChatFormat,
        settings: Settings,
        send: Send,
        clock: Callable[[], float],
        run: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.backend = backend
        self.chat_format = chat_format
        self.settings = settings
        self.window = min(settings.window or DEFAULT_WINDOW, backend.n_cells, backend.n_pos)
        self.characters: dict[str, Character] = {}
        self.paused: Collection[str] = ()
        self.n_added = 0
        self.standing: list[Claim] = []  # who waits for a slot to speak
        self.prefix_cache = PrefixCache(
            chat_format.world_tokens, n_cells=backend.n_cells, trims=not backend.keeps_states
        )
        megabytes = settings.park_ram
        self.parking = Parking(auto_budget() if megabytes is None else megabytes << 20, run)
        self._slots = Slots(backend.n_slots, self.parking, clock)
        self._flood = Flood()
        self._awake = Runnable()
        self._settled_at: int | None = None  # the room to park when nobody could read on
        self._telling = Broadcast(self._tell)
        self._changed: dict[Character, None] = {}
        self._attended: dict[str, float] = {}  # when
        self._renumberings = Moves()
        self._clock = clock
        self._arrivals = itertools.count(1)
        self.scenes = Scenes(self.find, send, self._arrivals)

    def find(self, name: str) -> Character:
        """Return a character; raises UnknownNpc."""
        self.tell_one(name)
        try:
            return self.characters[name]
        except KeyError:
            known = ", ".join(sorted(self.characters)[:20]) or "none"
            raise UnknownNpc(
                f"There is no character {name!r}.", f"Spawn it first. Spawned: {known}."
            ) from None

    def tidy(self) -> bool:
        """In a pause: win positions back for one character; whether there was one that needed it.

        It may take half a second, in which nobody is answered: so not while somebody speaks or
        waits to, and not while a player is about to speak.
        """
        if any(c.generation or c.waiting(m.Say) for c in self.busy):
            return False
        if self._is_attended():
            return False
        for name in self._slots.residents:
            began = self._clock()
            if self.characters[name].dialogue.sequence.tidy():
                self._renumberings.note(self._clock() - began)
                self.characters[name].note_change()
                return True
        return False

    def _is_attended(self) -> bool:
        """Whether somebody was attended or half spoken to of late, and nobody has spoken since."""
        since = self._clock() - ATTENTION_S
        for name in [n for n, at in self._attended.items() if at < since or not self._expects(n)]:
            del self._attended[name]
        return bool(self._attended)

    def _expects(self, name: str) -> bool:
        return name in self.characters and self.characters[name].claim.expected > 0

    def claims(self) -> list[Claim]:
        """Serve inboxes, give slots, and return the claims of all who have one and want to read.

        Whoever has nothing to do is not looked at (`runnable`).
        """
        self._telling.tell(MOST_AT_ONCE)
        self.scenes.advance(may_speak=lambda: not self._player_talks)
        awake = self._awake.take(self.characters, self.paused, self._clock())
        for character in awake:
            character.advance()
        holds = (c.wants and _holds_slot(c.claim) for c in awake)
        is_settled = not awake and self._settled_at == self.parking.ample_room
        if not is_settled and (self._slots.has_free or not any(holds)):
            awake += [c for n, c in self._awake.waiting.items() if n not in self.paused]
        wishes = [c.claim for c in awake if c.wants]
        wishes.sort(key=lambda claim: claim.number)
        self.prefix_cache.collect(wishes)
        residents = self._slots.assign(wishes)
        self.standing = [c for c in wishes if c.urgent and c.sequence.slot is None]
        self.prefix_cache.lend(residents)
        self._awake.settle(awake)
        self._settled_at = None if residents or self.paused else self.parking.ample_room
        return residents

    def take_in(self, batch: Batch, rows: Sequence[int]) -> None:
        """Note what was decoded, and let everyone whose line is read say their next token.

        `rows`: the last row of each run. A reply that fails is one reply, and nobody else's.
        """
        for run, row in zip(batch.runs, rows, strict=True):
            character = self.characters[run.claim.name]
            run.claim.sequence.commit(run.n_tokens)
            if run.last and run.claim.urgent:
                self._speak(character, row)
            elif batch.looks_at(run):
                self._look(character, row)

    def _speak(self, character: Character, row: int) -> None:
        try:
            character.speak(row)
        except BackendError as error:
            log.error("sampling failed: %s", error)
            character.fail(error)
        except Exception:
            log.exception("%r failed to speak", character.dialogue.name)
            character.fail(Internal("The engine failed at this line.", "Its log has the details."))

    def _look(self, character: Character, row: int) -> None:
        try:
            character.look(self.backend.logits(row))
        except Exception:  # it was only a look; what is read is read again
            log.exception("%r cannot be looked at", character.dialogue.name)
            character.dialogue.sequence.forget_cache()

    def fail(self, batch: Batch, error: BackendError) -> None:
        """Answer everybody in a batch that could not be decoded."""
        for run in batch.runs:
            self.characters[run.claim.name].fail(error)

    @property
    def has_more(self) -> bool:
        """Whether there are characters that the next step has to look at, whatever it reads."""
        return self._awake.has_more or bool(self._telling)

    def wake(self, character: Character) -> None:
        """Look at a character in the next step."""
        self._awake.note(character)

    @property
    def _player_talks(self) -> bool:
        """Whether a player waits for an answer or gets one."""
        says = [s for c in self.busy for s in c.waiting(m.Say)]
        says += [c.generation.request for c in self.busy if c.generation]
        return any(s.priority == "player" and not isinstance(s, Cue) for s in says)

    def add(self, dialogue: Dialogue) -> None:
        """Put a character on the stage, in the place of one of the same name."""
        self.remove(dialogue.name)
        self.n_added += 1
        self.characters[dialogue.name] = Character(
            dialogue,
            self.backend,
            self.scenes.send,
            self._clock,
            self.settings.max_tokens,
            self.settings.max_events,
            self._flood,
            self._note_change,
        )
        self.characters[dialogue.name].claim.number = self.n_added
        self.admit(dialogue)
        self.prefix_cache.join(dialogue.name, dialogue.sequence)
        self._note_change(self.characters[dialogue.name])

    def admit(self, dialogue: Dialogue) -> None:
        """Take in the cells of a character that is to come on the stage: they count as parked."""
        self._slots.admit(dialogue.sequence)

    def give_up(self, dialogue: Dialogue) -> None:
        """Let one go that was admitted, unless it is on the stage."""
        character = self.characters.get(dialogue.name)
        if character is None or character.dialogue is not dialogue:
            dialogue.sequence.forget_cache()

    def _note_change(self, character: Character) -> None:
        if self.characters.get(character.dialogue.name) is character:
            self._awake.note(character)
        self._changed[character] = None

    def take_changed(self) -> Iterable[Character]:
        """Return who has come, or whose `n_changes` has grown, since this was last asked."""
        changed, self._changed = self._changed, {}
        return changed

    def remove(self, name: str) -> None:
        """Take a character off the stage, its open requests cancelled, its slot free."""
        character = self.characters.pop(name, None)
        if character is not None:
            self._settled_at = None
            self._awake.forget(name)
            self._telling.forget(name)
            character.drop(None, "cancelled")
            self.scenes.forget(name)
            self.prefix_cache.leave(name)
            self._slots.leave(character.dialogue.sequence)

    def check_room(self, names: Iterable[str]) -> None:
        """Raise Busy when these characters would be too many."""
        n = len(self.characters.keys() | set(names))
        if n > self.settings.max_npcs:
            raise Busy(
                f"That would make {n} characters; this engine takes {self.settings.max_npcs}.",
                "Despawn some, or start the engine with a larger --max-npcs.",
            )

    def check_new(self, name: str) -> None:
        """Raise NpcExists or Busy when no character of this name can come."""
        if name in self.characters:
            raise NpcExists(f"The character {name!r} is there already.", "Despawn it first.")
        self.check_room([name])

    def create(self, request: m.Spawn) -> tuple[Dialogue, str]:
        """Return a new character, not yet on the stage, and its greeting.

        Raises NpcExists, CardError, TooLarge, Busy, BadMessage.
        """
        self.check_new(request.npc)
        window = request.window or self.window
        if window > self.window:
            raise TooLarge(
                f"A window of {window} tokens is above the engine's {self.window}.",
                "Ask for less, or start the engine with a larger --window.",
            )
        card = Card.from_map(request.card)
        check_card(card)
        dialogue = Dialogue.create(
            request.npc,
            card,
            self.chat_format,
            self.backend,
            sampling=_sampling(request.sampling),
            window=window,
            n_pos=self.backend.n_pos,
        )
        greeting = card.greeting(user=USER)
        dialogue.greet(greeting)
        return dialogue, greeting

    # -- what is asked ---------------------------------------------------------------------

    def queue(self, client: bytes, request: m.Say | m.Hear | m.Pin | m.Unpin | m.Rewind) -> None:
        """Put a request into the inbox of its character."""
        character = self.find(request.npc)
        character.take(client, request, next(self._arrivals), self.settings.max_queue)

    def call_in(self, name: str) -> None:
        """Note that a character is about to be spoken to."""
        character = self.find(name)
        character.attend(next(self._arrivals))
        self._awake.note(character)
        self._attended[name] = self._clock()

    def tell(self, client: bytes, event: m.Event, names: Collection[str]) -> None:
        """Let these hear of an event: few of them at once, many in the next steps."""
        self._telling.add(client, event, names)
        if len(names) <= MOST_AT_ONCE:
            self._telling.tell(math.inf)

    def tell_one(self, name: str) -> None:
        """Let one character hear of every event now."""
        if self._telling:
            self._telling.tell_one(name)

    def tell_all(self) -> None:
        """Let everybody hear of every event now."""
        self._telling.tell(math.inf)

    def _tell(self, name: str, client: bytes, event: m.Event) -> None:
        character = self.characters[name]
        character.take(client, event, next(self._arrivals), self.settings.max_queue)

    @property
    def busy(self) -> Collection[Character]:
        """Who has something to do now: whoever has a `say` is among them."""
        return self._awake.busy.values()

    def drop(self, client: bytes | None, why: Why) -> None:
        """Cut short every open `say` and scene of a client (None: of everybody)."""
        self.scenes.drop(client, "slow_client" if why == "slow_client" else "cancelled")
        of = self.busy if client is not None else self.characters.values()
        for character in list(of):
            character.drop(client, why)

    def counts(self) -> dict[str, Any]:
        """Return queue lengths and sizes, for `stats`."""
        all_ = self.characters.values()
        sequences = [c.dialogue.sequence for c in all_]
        copies = [s.copy for s in sequences if s.copy is not None]
        parks, call_ins, flood = self._slots.parks, self._slots.call_ins, self._flood
        return {
            "n_npcs": len(self.characters),
            "n_resident": sum(c.dialogue.sequence.slot is not None for c in all_),
            "n_scenes": len(self.scenes.running),
            "n_speaking": sum(c.generation is not None for c in all_),
            "n_waiting_says": sum(len(c.waiting(m.Say)) for c in all_),
            "n_waiting_events": sum(len(c.waiting(m.Event)) for c in all_),
            "n_pending_tokens": sum(c.dialogue.sequence.n_pending for c in all_),
            "n_reread": sum(c.dialogue.drift.n_reread for c in all_ if c.dialogue.drift),
            "n_events_dropped": flood.n_dropped,
            "n_events_coalesced": flood.n_coalesced,
            "n_events_expired": flood.n_expired,
            "n_parked": sum(copy.n_bytes + copy.n_disk_bytes > 0 for copy in copies),
            "parked_bytes": sum(s.n_parked_bytes for s in sequences),
            "parked_disk_bytes": sum(copy.n_disk_bytes for copy in copies),
            "n_parks": parks.n,
            "park_ms": parks.mean_ms,
            "park_ms_last": parks.last_ms,
            "n_call_ins": call_ins.n,
            "call_in_ms": call_ins.mean_ms,
            "call_in_ms_last": call_ins.last_ms,
            "n_renumberings": self._renumberings.n,
            "renumber_ms": self._renumberings.mean_ms,
            "renumber_ms_last": self._renumberings.last_ms,
            "n_beginnings": self.prefix_cache.n_kept,
            "shared_bytes": self.prefix_cache.n_bytes,
            "n_shared_restored": self.prefix_cache.n_restored,
        }


def _holds_slot(claim: Claim) -> bool:
    """Whether nobody may take a slot to read ahead while there is this claim."""
    return claim.urgent or (claim.sequence.slot is not None and claim.sequence.n_pending > 0)


def _sampling(values: Mapping[str, Any] | None) -> Sampling:
    try:
        return Sampling.parse(values or {})
    except ConfigError as error:
        raise BadMessage(error.message, error.help) from None
