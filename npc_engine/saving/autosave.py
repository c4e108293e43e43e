"""`--autosave`: everybody is journaled into a slot of its own, without anybody asking.

Owns who is to be saved there and when: whoever is new within a second, and every so many seconds
those who have changed, so that their journals stay short. Nothing happens while nothing changes.
Whoever leaves the stage stays in the slot, as they were. It saves nobody itself.

What an engine before this one left in the slot is copied to another one first: a game that starts
anew and forgets to restore has it still.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from npc_engine.characters.character import Character
from npc_engine.characters.stage import Stage
from npc_engine.protocol import Error, Reply, Saved
from npc_engine.saving.backoff import Backoff
from npc_engine.saving.journal.journaling import Journaling
from npc_engine.storage.store import Store

__all__ = ["AUTOSAVE", "BEFORE", "Autosave"]

log = logging.getLogger("npc_engine")

AUTOSAVE = "autosave"
BEFORE = "autosave-before"

GATHER_S = 0.2  # newcomers mostly come several at once; a turn is to be safe within a second


class _Round(NamedTuple):
    """A save under way: of whom, and `n_added` of the stage where all are in the slot then."""

    who: dict[str, Character]
    n_added: int


class Autosave:
    """Whoever of a stage is to be saved, every `seconds`, never at 0."""

    def __init__(
        self,
        seconds: float,
        stage: Stage,
        journaling: Journaling,
        clock: Callable[[], float],
    ) -> None:
        self._error = ""
        self._left_out: dict[str, Character] = {}  # who has what no file can hold
        self._seconds = seconds
        self._stage = stage
        self._journaling = journaling
        self._clock = clock
        self._n_added = 0  # of the stage, when all were in the slot
        self._gather_until: float | None = None
        self._fold_at = 0.0
        self._retry = Backoff()
        self._round: _Round | None = None
        self._has_kept = False

    @property
    def error(self) -> str:
        """Why the last one has failed, or whom it had to leave out."""
        names = ", ".join(repr(name) for name, one in self._left_out.items() if self._is_there(one))
        return self._error or (names and f"{names} cannot be saved: the log says why.")

    def keep_before(self, store: Store) -> None:
        """Copy what an engine before this one left, once. On the thread that writes files."""
        if not self._has_kept:
            store.copy(AUTOSAVE, BEFORE)
            self._has_kept = True

    def step(self) -> list[str]:
        """Return who is to be saved now; `note` is to have the reply to that."""
        if not self._seconds or self._round is not None:
            return []
        now = self._clock()
        if now < self._fold_at and self._stage.n_added == self._n_added:
            return []  # cheap: this is called at every step
        due = self._due()
        return self._begin() if due is not None and due <= now else []

    def patience(self) -> float | None:
        """Return the seconds until somebody is due; None when nobody will be."""
        due = self._due()
        return None if due is None else max(0.0, due - self._clock())

    def newcomers(self, leaving: str | None = None) -> list[str]:
        """Return who is not in the slot yet, or of them the one who leaves."""
        names = self._newcomers() if self._seconds else []
        return [name for name in names if leaving in (None, name)]

    def _due(self) -> float | None:
        if not self._seconds or self._round is not None:
            return None
        if self._stage.n_added != self._n_added:
            if self._gather_until is None:
                self._gather_until = self._clock() + GATHER_S
            return max(self._gather_until, self._retry.at)
        if any(self._journaling.table.changed(AUTOSAVE)):
            return max(self._fold_at, self._retry.at)
        return None

    def _begin(self) -> list[str]:
        self._gather_until = None
        new = self._newcomers()
        names = [name for name in new if name not in self._stage.paused]
        # Whoever is loaded just now may come from this slot, and is not what comes of that.
        n_added = self._stage.n_added if names == new else self._n_added
        if not names and self._stage.n_added != self._n_added:  # who came has left
            self._n_added = n_added
            return []
        if not names or not self._fold_at:  # newcomers do not put the others off
            self._fold_at = self._clock() + self._seconds
        names = names or list(self._journaling.table.changed(AUTOSAVE))
        self._round = _Round({name: self._stage.characters[name] for name in names}, n_added)
        return names

    def note(self, reply: Reply) -> None:
        """Take in how the save of those that `step` has returned has ended."""
        ended, self._round = self._round, None
        if isinstance(reply, Error):
            if not self._error:
                log.warning("The autosave has failed, and is tried again. %s", reply.message)
            self._error = reply.message
            self._retry.note_failure(self._clock())
        elif isinstance(reply, Saved) and ended is not None:
            self._retry.note_success()
            self._n_added, self._error = ended.n_added, ""
            self._note_left_out({n: c for n, c in ended.who.items() if n not in reply.npcs})

    def _note_left_out(self, more: dict[str, Character]) -> None:
        both = {**self._left_out, **more}
        self._left_out = {name: one for name, one in both.items() if self._is_there(one)}

    def _is_there(self, character: Character) -> bool:
        return self._stage.characters.get(character.dialogue.name) is character

    def _newcomers(self) -> list[str]:
        """Who is neither in the slot nor about to be."""
        characters = self._stage.characters.items()
        table = self._journaling.table
        new = [(n, c) for n, c in characters if not table.of_character(AUTOSAVE, c)]
        known = (self._round.who if self._round else {}, self._left_out)
        return [name for name, one in new if not any(of.get(name) is one for of in known)]
