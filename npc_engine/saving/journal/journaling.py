"""Which characters are journaled into which slots, and what becomes of each write.

Owns from when to when one is (`table`). Whoever is due (`pace`, `queue`) is frozen, never while
nothing happens, and goes in `rounds` to the thread that writes files; there it is compared and
appended (`storage.journal`). It knows no byte of a journal, never looks at those who have not
changed, and a bad disk costs nobody a line.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from npc_engine.characters.character import Character
from npc_engine.characters.stage import Stage
from npc_engine.errors import NpcError
from npc_engine.saving.files import Files
from npc_engine.saving.journal.pace import JournalPace, Witness
from npc_engine.saving.journal.queue import JournalQueues
from npc_engine.saving.journal.rounds import Rounds
from npc_engine.saving.journal.table import JournalTable
from npc_engine.saving.serialization import state_of
from npc_engine.storage.journal.files import Outcome

__all__ = ["Journaling"]

log = logging.getLogger("npc_engine")

MOST_AT_ONCE = 16  # are frozen in one step: that is to be no part of it that anybody notices
FOLD_BYTES = 256 << 10  # a load takes a tenth of a second for it; a journal may have far more


class Journaling:
    """The journals of a stage's characters. `own_slot`: one beside that which the player chose.

    `rounds`: what is being written of them.
    """

    def __init__(
        self, stage: Stage, files: Files, clock: Callable[[], float], own_slot: str
    ) -> None:
        self._stage = stage
        self._clock = clock
        self._own_slot = own_slot
        self._table = JournalTable()
        self._fresh: dict[JournalPace, None] = {}  # who may have become due since the last look
        self._queues = JournalQueues()
        self.rounds = Rounds(files)
        self._left: dict[tuple[str, str], JournalPace] = {}  # whose last is not written yet
        self._errors: dict[tuple[str, str], str] = {}
        self._next: float | None = None  # when the next look is due

    # -- who -----------------------------------------------------------------------------------

    @property
    def table(self) -> JournalTable:
        """Who is journaled, as the stage is now."""
        for character in self._stage.take_changed():
            self._note_change(character)
        return self._table

    def begin(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Journal these characters, whose snapshots in this slot are about to be written."""
        for name, witness in who.items():
            left = self._left.get((slot, name))
            if left is not None and left.character is witness[0]:
                continue  # its last is in the snapshot's journal, but that may not be written
            if self.table.of_character(slot, witness[0]) is None:
                self._let_go((slot, name))  # of another life
                pace = JournalPace.of(slot, witness)
                if self._is_there(pace):  # else it has left since it was copied
                    self.table.add(pace)
                    witness[0].on_line = self._line_begins

    def copied(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that what is submitted from now on goes behind these snapshots, whatever was before.

        A save is copied over seconds: what came since goes into a journal that it replaces.
        """
        self.rounds.cut()
        for witness in who.values():
            pace = self.table.of_character(slot, witness[0])
            if pace is not None:
                pace.seen = witness[1]
                self._fresh[pace] = None

    def lost(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that these snapshots were not written: what they had goes into the journals."""
        self.copied(slot, {name: (character, -1) for name, (character, _) in who.items()})

    def saved(self, slot: str, who: Mapping[str, Witness], begins: bool) -> None:
        """Note that these characters' snapshots are safe on the disk.

        `begins`: and that they have journals. A snapshot before that which begins one has none.
        """
        for name, witness in who.items():
            pace = self.table.of_character(slot, witness[0])
            if pace is None:
                continue
            pace.is_safe, pace.is_folding = pace.is_safe or begins, False
            pace.folded = witness[1]
            pace.retry.note_success()
            self._note_change(pace.character)
            self._errors.pop((slot, name), None)
            if slot != self._own_slot:
                self._leave_others(slot, name)

    def late(
        self, slot: str, who: Mapping[str, Witness], begins: bool = False
    ) -> dict[str, dict[str, Any]]:
        """Return name -> state of those who have changed since they were frozen for a snapshot.

        It goes to the disk with the snapshot, which takes the place of a journal that may have it.
        `begins`: also of those who are not journaled before that.
        """
        late = {}
        for name, witness in who.items():
            pace = self.table.of_character(slot, witness[0])
            if pace is None and begins:
                pace = JournalPace.of(slot, witness)
            if pace is None or pace.character.n_changes == witness[1]:
                continue
            state = self._frozen(pace)
            if state is not None:
                late[name] = state
        return late

    def failed(self, slot: str, names: Iterable[str], error: str) -> None:
        """Note that these characters' snapshots were not written: go on as before."""
        for name in names:
            pace = self.table.of(slot, name)
            if pace is None:
                continue
            pace.is_folding = False
            if pace.is_safe:
                self._put_off(pace, error)
            else:
                self.table.remove(pace)

    def _leave_others(self, slot: str, name: str) -> None:
        for pace in self.table.all_of(name):
            if pace.slot not in (slot, self._own_slot):
                self._let_go(pace.key)

    def replaced(self, slot: str, name: str) -> None:
        """Write the last of a character which another takes the place of, out of this slot."""
        for pace in self.table.all_of(name):
            if pace.slot == slot or not pace.has_changed:
                self._let_go(pace.key)
        self.leave(name)

    def leave(self, name: str) -> None:
        """Write the last of a character that has left the stage, or is about to."""
        for pace in self.table.all_of(name):
            self.table.remove(pace)
            pace.last = self._frozen(pace)
            if pace.last is None:
                self._let_go(pace.key)
            else:
                self._left[pace.key] = pace
                self._submit(pace)

    def _let_go(self, key: tuple[str, str]) -> None:
        pace = self.table.of(*key)
        if pace is not None:
            self.table.remove(pace)
        self._left.pop(key, None)
        self._errors.pop(key, None)
        self.rounds.forget(*key)

    # -- when ----------------------------------------------------------------------------------

    def _note_change(self, character: Character) -> None:
        for pace in self._table.all_of(character.dialogue.name):
            if pace.character is character:
                self._fresh[pace] = None
                self._table.note_change(pace)
            elif not self._is_there(pace):
                self._let_go(pace.key)  # another has been loaded in its place

    def step(self, put_off: Collection[str] = ()) -> None:
        """Freeze whoever is due. `put_off`: slots that somebody waits to read."""
        now = self._clock()
        waits = [left.retry.at for left in self._due_of_left(now)]
        self._look(now)
        n = 0
        for pace in self._queues.due(now, put_off):
            n += self._submit_due(pace)
            if n == MOST_AT_ONCE:
                break
        due = self._queues.next_due(put_off)
        self._next = min([*waits, *([] if due is None else [due])], default=None)

    def _due_of_left(self, now: float) -> Iterator[JournalPace]:
        """Submit the last of those who have left where it is due; yield those of whom it is not."""
        for left in self._left.values():
            if left.n_under_way or left.name in self._stage.paused:
                continue
            if now >= left.retry.at:
                self._submit(left)
            else:
                yield left

    def _look(self, now: float) -> None:
        """Note when those are due who have changed since the last look."""
        table = self.table
        fresh, self._fresh = self._fresh, {}
        for pace in fresh:
            if pace.name in self._stage.paused:  # its journal is being read
                self._fresh[pace] = None
            elif pace.has_changed and table.has(pace):
                self._queues.put(pace, now)

    def _submit_due(self, pace: JournalPace) -> bool:
        if not self.table.has(pace) or not self._is_there(pace):
            return False
        if pace.name in self._stage.paused:
            self._fresh[pace] = None
            return False
        is_busy = pace.n_under_way or pace.is_folding
        if is_busy and not pace.has_ended_turn:  # a turn takes its place
            return False  # it is looked at again when that has ended
        if pace.has_changed:
            self._submit(pace)
        return True

    def flush(self) -> None:
        """Submit at once all that has changed."""
        self._look(self._clock())
        for pace in self._queues.due(math.inf):
            if pace.has_changed and self._is_there(pace):
                self._submit(pace)
        for left in self._left.values():
            if not left.n_under_way:
                self._submit(left)

    def flush_one(self, name: str) -> int:
        """Submit at once what has changed of a character; return into how many slots."""
        changed = [pace for pace in self.table.all_of(name) if pace.has_changed]
        for pace in changed:
            self._submit(pace)
        return len(changed)

    def _is_there(self, pace: JournalPace) -> bool:
        return self._stage.characters.get(pace.name) is pace.character

    def _submit(self, pace: JournalPace) -> None:
        has_ended = pace.has_ended_turn
        pace.note_submitted()
        state = pace.last or self._frozen(pace)
        if state is not None:
            self.rounds.add(pace, state, has_ended)

    def _frozen(self, pace: JournalPace) -> dict[str, Any] | None:
        try:
            state = state_of(pace.character, self._clock())
        except Exception:  # one character goes without; a save would tell
            log.exception("%r cannot be journaled", pace.name)
            return None
        return pace.without_line(state)

    def _line_begins(self, character: Character) -> None:
        paces = self.table.all_of(character.dialogue.name)
        paces = [pace for pace in paces if pace.character is character]
        for pace in paces:
            pace.before = self._frozen(pace)
        if not paces:
            character.on_line = None

    # -- what came of it -----------------------------------------------------------------------

    def note_written(self) -> list[tuple[str, str]]:
        """Take in what the writing thread has done; return slot and name of who is to be folded.

        That is to be saved again, because its journal has become long.
        """
        table, to_fold = self.table, []
        for pace, outcome in self.rounds.finished():
            self._fresh[pace] = None
            if isinstance(outcome, NpcError):
                self._put_off(pace, str(outcome))
                continue
            pace.retry.note_success()
            if outcome is None:
                pace.seen = -1
            if self._left.get(pace.key) is pace:
                self._is_out(pace, outcome)
            elif outcome is None or outcome > FOLD_BYTES:
                to_fold += self._to_fold(pace)
            elif table.has(pace):
                self._errors.pop(pace.key, None)
        return to_fold

    def _is_out(self, pace: JournalPace, outcome: Outcome) -> None:
        if outcome is None:  # and there is nobody to make a snapshot of any more
            log.warning("The last of %r in %r was not written.", pace.name, pace.slot)
        if not pace.n_under_way:
            self._let_go(pace.key)

    def _put_off(self, pace: JournalPace, error: str) -> None:
        if not self.table.has(pace) and self._left.get(pace.key) is not pace:
            return
        if not self._errors:
            log.warning("%s It is tried again; nothing is lost as long as the engine runs.", error)
        self._errors[pace.key] = error
        pace.put_off(self._clock())
        self._fresh[pace] = None

    def _to_fold(self, pace: JournalPace) -> list[tuple[str, str]]:
        if pace.is_folding or not self.table.has(pace):
            return []
        if pace.name in self._stage.paused:  # a snapshot would be of another one by then
            return []
        pace.is_folding = True
        return [pace.key]

    def last_of(self, slot: str, name: str) -> dict[str, Any] | None:
        """Return what somebody is, or was who has left, if the disk has not taken it yet."""
        left = self._left.get((slot, name))
        if left is not None:
            return left.last
        pace = self.table.of(slot, name)
        if pace is not None and pace.has_changed and self._is_there(pace):
            return self._frozen(pace)
        return None

    def patience(self) -> float | None:
        """Return the seconds until the next look is due; None when nothing is."""
        return None if self._next is None else max(0.0, self._next - self._clock())

    @property
    def error(self) -> str:
        """Why a journal cannot be written just now, if so."""
        return next(iter(self._errors.values()), "")
