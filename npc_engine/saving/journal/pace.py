"""One character that is journaled into one slot: what of it is noted, and when it is due.

Owns the pace: at once when a turn has ended, else half a second after the change, and later where a
write has failed. It knows no journal and no thread.
"""

from dataclasses import dataclass, field
from typing import Any

from npc_engine.characters.character import Character
from npc_engine.saving.backoff import Backoff

__all__ = ["LOOK_S", "JournalPace", "Witness"]

LOOK_S = 0.5  # from a change to its record, at most, where no turn ends before
WAITING = ("events", "events_expire_s", "heard")  # keys of a state: what has not come in yet

Witness = tuple[Character, int]
"""A character, and its `n_changes` when it was frozen for a snapshot."""


@dataclass(eq=False)
class JournalPace:
    """What is noted of it. Counts of changes are `n_changes`.

    `folded`: of its snapshot; `seen`: of what was submitted last, in the turn `turn`. `is_safe`:
    whether its snapshot is on the disk. `last`: what it was when it left the stage.
    """

    slot: str
    character: Character
    folded: int
    seen: int
    turn: int
    since: float | None = None  # when the first change was noticed that is not submitted
    retry: Backoff = field(default_factory=Backoff)
    n_under_way: int = 0
    is_safe: bool = False
    is_folding: bool = False
    before: dict[str, Any] | None = None  # what it was before the line that it speaks
    last: dict[str, Any] | None = None

    @classmethod
    def of(cls, slot: str, witness: Witness) -> "JournalPace":
        """Return one that begins with a snapshot."""
        character, n_changes = witness
        return cls(slot, character, n_changes, n_changes, character.dialogue.turn)

    @property
    def key(self) -> tuple[str, str]:
        """Slot and name."""
        return self.slot, self.name

    @property
    def name(self) -> str:
        """The character's."""
        return self.character.dialogue.name

    @property
    def has_changed(self) -> bool:
        """Whether there is something to submit."""
        return self.character.n_changes != self.seen

    @property
    def is_folded(self) -> bool:
        """Whether its snapshot has all of it."""
        return self.character.n_changes == self.folded

    @property
    def wants_fold(self) -> bool:
        """Whether it has changed since its snapshot, and is not amid a line."""
        return self.is_safe and not self.is_folded and not self.character.generation

    @property
    def has_ended_turn(self) -> bool:
        """Whether a turn has ended that is not submitted."""
        return self.turn != self.character.dialogue.turn

    def due(self, now: float) -> float:
        """Return when it is to be submitted. It has changed."""
        if self.since is None:
            self.since = now
        return max(now if self.has_ended_turn else self.since + LOOK_S, self.retry.at)

    def note_submitted(self) -> None:
        """Note that it is submitted as it is now."""
        self.seen, self.turn, self.since = (
            self.character.n_changes,
            self.character.dialogue.turn,
            None,
        )

    def put_off(self, now: float) -> None:
        """Submit it again, later: it was not written."""
        self.seen = -1
        self.retry.note_failure(now)

    def without_line(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return its state as it would be without the line that it speaks.

        What leaves to make room for a line leaves with its end: it may never come to that. But what
        is taken back meanwhile leaves at once.
        """
        if not self.character.generation:
            self.before = None
        elif self.before is not None and not self.character.inbox.undoing:
            return {**self.before, **{key: state[key] for key in WAITING}}
        return state
