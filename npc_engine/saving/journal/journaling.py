"""Which characters are journaled into which slots, and what becomes of each write.

Owns who is followed. Whoever is due (`pace`, `queue`) is frozen, never while nothing happens,
and goes in `rounds` to the thread that writes files; there it is compared and appended
(`files`). It knows no byte of a journal, never looks at those who have not changed, and a bad
disk costs nobody a line.
"""

import logging
import math
import queue
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from npc_engine.characters.character import Character
from npc_engine.characters.stage import Stage
from npc_engine.errors import NpcError, SnapshotError
from npc_engine.saving.journal.pace import JournalPace, Witness
from npc_engine.saving.journal.queue import JournalQueue
from npc_engine.saving.journal.rounds import Round
from npc_engine.storage.journal.files import Journals, Outcome
from npc_engine.storage.writer import WriterThread

__all__ = ["Journaling"]

log = logging.getLogger("npc_engine")

MOST_AT_ONCE = 16  # are frozen in one step: that is to be no part of it that anybody notices
FOLD_BYTES = 256 << 10  # a load takes a tenth of a second for it; a journal may have far more


class Journaling:
    """The journals of a stage's characters. `freeze` returns what a save holds of one.

    `fold` saves a character again. `own_slot`: a slot beside that which the player chose.
    """

    def __init__(
        self,
        stage: Stage,
        thread: WriterThread,
        freeze: Callable[[Character], dict[str, Any]],
        fold: Callable[[str, str], None],
        clock: Callable[[], float],
        own_slot: str,
    ) -> None:
        self._stage = stage
        self._thread = thread
        self._freeze = freeze
        self._fold = fold
        self._clock = clock
        self._own_slot = own_slot
        self._journals: Journals | None = None
        self._followed: dict[str, dict[str, JournalPace]] = {}  # by name and slot
        self._fresh: dict[JournalPace, None] = {}  # who may have become due since the last look
        self._agendas: dict[str, JournalQueue] = {}  # by slot
        self._unfolded: dict[
            str, dict[str, JournalPace]
        ] = {}  # by slot and name: who has a journal
        self._round: Round | None = None  # who is due now may join it
        self._left: dict[tuple[str, str], JournalPace] = {}  # whose last is not written yet
        self._done: queue.SimpleQueue[tuple[JournalPace, Outcome]] = queue.SimpleQueue()
        self._errors: dict[tuple[str, str], str] = {}
        self._n_under_way: Counter[str] = Counter()  # by slot; also of those who have left
        self._next: float | None = None  # when the next look is due

    # -- who -----------------------------------------------------------------------------------

    @property
    def _follows(self) -> dict[str, dict[str, JournalPace]]:
        """Who is followed, by name and slot, as the stage is now."""
        self._take_changes()
        return self._followed

    def follow(self, slot: str, who: Mapping[str, Witness], journals: Journals) -> None:
        """Journal these characters, whose snapshots in this slot are about to be written."""
        self._journals = journals
        for name, witness in who.items():
            character = witness[0]
            if not self.is_followed(slot, character):
                self._let_go((slot, name))  # of another life
                self._follows.setdefault(name, {})[slot] = JournalPace.of(slot, witness)
                character.on_line = self._line_begins

    def follow_of(self, slot: str, name: str) -> JournalPace | None:
        """Return what is noted of a character that is journaled into a slot."""
        return self._follows.get(name, {}).get(slot)

    def _follow_by(self, slot: str, witness: Witness) -> JournalPace | None:
        """Return what is noted of this one; None where another has its name by now."""
        follow = self.follow_of(slot, witness[0].dialogue.name)
        return follow if follow is not None and follow.character is witness[0] else None

    def copied(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that what is submitted from now on goes behind these snapshots, whatever was before.

        A save is copied over seconds: what came since goes into a journal that it replaces.
        """
        self._round = None
        for witness in who.values():
            follow = self._follow_by(slot, witness)
            if follow is not None:
                follow.seen = witness[1]
                self._fresh[follow] = None

    def lost(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that these snapshots were not written: what they had goes into the journals."""
        self.copied(slot, {name: (character, -1) for name, (character, _) in who.items()})

    def saved(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that these characters' snapshots are safe on the disk."""
        for name, witness in who.items():
            follow = self._follow_by(slot, witness)
            if follow is None:
                continue
            follow.is_safe, follow.is_folding = True, False
            follow.folded = witness[1]
            follow.retry.note_success()
            self._note_change(follow.character)
            self._errors.pop((slot, name), None)
            if slot != self._own_slot:
                self._leave_others(slot, name)

    def late(self, slot: str, who: Mapping[str, Witness]) -> dict[str, dict[str, Any]]:
        """Return name -> state of those who have changed since they were frozen for a snapshot.

        It goes to the disk with the snapshot, which takes the place of a journal that may have it.
        """
        late = {}
        for name, witness in who.items():
            follow = self._follow_by(slot, witness)
            if follow is None or follow.character.n_changes == witness[1]:
                continue
            state = self._frozen(follow)
            if state is not None:
                late[name] = state
        return late

    def failed(self, slot: str, names: Iterable[str], error: str) -> None:
        """Note that these characters' snapshots were not written: go on as before."""
        for name in names:
            follow = self.follow_of(slot, name)
            if follow is None:
                continue
            follow.is_folding = False
            if follow.is_safe:
                self._put_off(follow, error)
            else:
                self._drop(follow)

    def _leave_others(self, slot: str, name: str) -> None:
        for other in [s for s in self._follows[name] if s not in (slot, self._own_slot)]:
            self._let_go((other, name))

    def replaced(self, slot: str, name: str) -> None:
        """Write the last of a character which another takes the place of, out of this slot."""
        for follow in list(self._follows.get(name, {}).values()):
            if follow.slot == slot or not follow.has_changed:
                self._let_go(follow.key)
        self.leave(name)

    def leave(self, name: str) -> None:
        """Write the last of a character that has left the stage, or is about to."""
        for follow in list(self._follows.get(name, {}).values()):
            self._drop(follow)
            follow.last = self._frozen(follow)
            if follow.last is None:
                self._let_go(follow.key)
            else:
                self._left[follow.key] = follow
                self._submit(follow)

    def _drop(self, follow: JournalPace) -> None:
        """Follow it no more."""
        slots = self._follows[follow.name]
        del slots[follow.slot]
        if not slots:
            del self._follows[follow.name]
        self._unfolded.get(follow.slot, {}).pop(follow.name, None)

    def _let_go(self, key: tuple[str, str]) -> None:
        follow = self.follow_of(*key)
        if follow is not None:
            self._drop(follow)
        self._left.pop(key, None)
        self._errors.pop(key, None)
        if self._journals is not None:
            journals = self._journals
            self._round = None
            self._thread.run(lambda: journals.forget(*key))

    def is_followed(self, slot: str, character: Character) -> bool:
        """Whether a character is journaled into a slot."""
        return self._follow_by(slot, (character, 0)) is not None

    def changed(self, slot: str) -> Iterator[str]:
        """Yield who has changed since its snapshot in a slot, and is not amid a line."""
        self._take_changes()
        unfolded = self._unfolded.get(slot, {})
        while unfolded and next(iter(unfolded.values())).is_folded:
            del unfolded[next(iter(unfolded))]
        for name, follow in unfolded.items():
            if follow.wants_fold:
                yield name

    # -- when ----------------------------------------------------------------------------------

    def _take_changes(self) -> None:
        for character in self._stage.take_changed():
            self._note_change(character)

    def _note_change(self, character: Character) -> None:
        for follow in list(self._followed.get(character.dialogue.name, {}).values()):
            if follow.character is character:
                self._fresh[follow] = None
                self._unfolded.setdefault(follow.slot, {})[follow.name] = follow
            elif not self._is_there(follow):
                self._let_go(follow.key)  # another has been loaded in its place

    def step(self, put_off: Collection[str] = ()) -> None:
        """Freeze whoever is due. `put_off`: slots that somebody waits to read."""
        self._next = None
        now = self._clock()
        for left in self._left.values():
            if not left.n_under_way and left.name not in self._stage.paused:
                self._submit_left(left, now)
        self._look(now)
        n = 0
        agendas = {slot: agenda for slot, agenda in self._agendas.items() if slot not in put_off}
        for has_ended in (True, False):
            for agenda in agendas.values():
                while n < MOST_AT_ONCE and (follow := agenda.take(now, has_ended)) is not None:
                    n += self._submit_due(follow)
        for slot, agenda in agendas.items():
            self._note_next(agenda.next_due())
            if not agenda:
                del self._agendas[slot]

    def _look(self, now: float) -> None:
        """Note when those are due who have changed since the last look."""
        self._take_changes()
        fresh, self._fresh = self._fresh, {}
        for follow in fresh:
            if follow.name in self._stage.paused:  # its journal is being read
                self._fresh[follow] = None
            elif follow.has_changed and self.follow_of(*follow.key) is follow:
                agenda = self._agendas.setdefault(follow.slot, JournalQueue())
                agenda.put(follow, follow.due(now), follow.has_ended_turn)

    def _submit_due(self, follow: JournalPace) -> bool:
        if self.follow_of(*follow.key) is not follow or not self._is_there(follow):
            return False
        if follow.name in self._stage.paused:
            self._fresh[follow] = None
            return False
        is_busy = follow.n_under_way or follow.is_folding
        if is_busy and not follow.has_ended_turn:  # a turn takes its place
            return False  # it is looked at again when that has ended
        if follow.has_changed:
            self._submit(follow)
        return True

    def _submit_left(self, left: JournalPace, now: float) -> None:
        if now >= left.retry.at:
            self._submit(left)
        else:
            self._note_next(left.retry.at)

    def _note_next(self, due: float | None) -> None:
        if due is not None:
            self._next = due if self._next is None else min(due, self._next)

    def flush(self) -> None:
        """Submit at once all that has changed."""
        self._look(self._clock())
        for agenda in self._agendas.values():
            for has_ended in (True, False):
                while (follow := agenda.take(math.inf, has_ended)) is not None:
                    if follow.has_changed and self._is_there(follow):
                        self._submit(follow)
        for left in self._left.values():
            if not left.n_under_way:
                self._submit(left)

    def flush_one(self, name: str) -> int:
        """Submit at once what has changed of a character; return into how many slots."""
        follows = [f for f in self._follows.get(name, {}).values() if f.has_changed]
        for follow in follows:
            self._submit(follow)
        return len(follows)

    def _is_there(self, follow: JournalPace) -> bool:
        return self._stage.characters.get(follow.name) is follow.character

    def _submit(self, follow: JournalPace) -> None:
        journals = self._journals
        has_ended = follow.has_ended_turn
        follow.note_submitted()
        state = follow.last or self._frozen(follow)
        if journals is None or state is None:
            return
        n = None if self._round is None else self._round.add(follow, state, has_ended)
        if n is None:
            self._round = Round(partial(_write, journals, self._done))
            n = self._round.add(follow, state, has_ended) or 0
            self._thread.run(self._round.run)
        follow.n_under_way += n
        self._n_under_way[follow.slot] += n

    def _frozen(self, follow: JournalPace) -> dict[str, Any] | None:
        try:
            state = self._freeze(follow.character)
        except Exception:  # one character goes without; a save would tell
            log.exception("%r cannot be journaled", follow.name)
            return None
        return follow.without_line(state)

    def _line_begins(self, character: Character) -> None:
        of_name = self._follows.get(character.dialogue.name, {}).values()
        follows = [follow for follow in of_name if follow.character is character]
        for follow in follows:
            follow.before = self._frozen(follow)
        if not follows:
            character.on_line = None

    # -- what came of it -----------------------------------------------------------------------

    def note_written(self) -> None:
        """Take in what the writing thread has done."""
        self._take_changes()
        while not self._done.empty():
            follow, outcome = self._done.get_nowait()
            self._n_under_way[follow.slot] -= 1
            follow.n_under_way -= 1
            self._fresh[follow] = None
            if isinstance(outcome, NpcError):
                self._put_off(follow, str(outcome))
                continue
            follow.retry.note_success()
            if outcome is None:
                follow.seen = -1
            if self._left.get(follow.key) is follow:
                self._is_out(follow, outcome)
            elif outcome is None or outcome > FOLD_BYTES:
                self._fold_one(follow)
            elif self.follow_of(*follow.key) is follow:
                self._errors.pop(follow.key, None)

    def _is_out(self, follow: JournalPace, outcome: Outcome) -> None:
        if outcome is None:  # and there is nobody to make a snapshot of any more
            log.warning("The last of %r in %r was not written.", follow.name, follow.slot)
        if not follow.n_under_way:
            self._let_go(follow.key)

    def _put_off(self, follow: JournalPace, error: str) -> None:
        if follow not in (self.follow_of(*follow.key), self._left.get(follow.key)):
            return
        if not self._errors:
            log.warning("%s It is tried again; nothing is lost as long as the engine runs.", error)
        self._errors[follow.key] = error
        follow.put_off(self._clock())
        self._fresh[follow] = None

    def _fold_one(self, follow: JournalPace) -> None:
        if follow.is_folding or self.follow_of(*follow.key) is not follow:
            return
        if follow.name in self._stage.paused:  # a snapshot would be of another one by then
            return
        follow.is_folding = True
        self._fold(follow.slot, follow.name)

    def is_under_way(self, slot: str) -> bool:
        """Whether something for a slot is being written."""
        return self._n_under_way[slot] > 0

    def last_of(self, slot: str, name: str) -> dict[str, Any] | None:
        """Return what somebody is, or was who has left, if the disk has not taken it yet."""
        left = self._left.get((slot, name))
        if left is not None:
            return left.last
        follow = self.follow_of(slot, name)
        if follow is not None and follow.has_changed and self._is_there(follow):
            return self._frozen(follow)
        return None

    def patience(self) -> float | None:
        """Return the seconds until the next look is due; None when nothing is."""
        return None if self._next is None else max(0.0, self._next - self._clock())

    @property
    def n_under_way(self) -> int:
        """Of how many the writing thread has something to tell before long."""
        return self._n_under_way.total()

    @property
    def error(self) -> str:
        """Why a journal cannot be written just now, if so."""
        return next(iter(self._errors.values()), "")

    @property
    def n_journaled(self) -> int:
        """How many characters are."""
        return len(self._follows)


def _write(
    journals: Journals,
    done: "queue.SimpleQueue[tuple[JournalPace, Outcome]]",
    some: list[tuple[JournalPace, dict[str, Any]]],
) -> None:
    outcomes: Sequence[Outcome]
    try:
        outcomes = journals.append([(*follow.key, state) for follow, state in some])
    except Exception as e:  # each has an outcome, whatever happens
        log.exception("journals were not written")
        outcomes = [SnapshotError(f"The journals were not written: {e}.")] * len(some)
    for (follow, _), outcome in zip(some, outcomes, strict=True):
        done.put((follow, outcome))
