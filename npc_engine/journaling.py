"""Which characters are journaled into which slots, and what becomes of each write.

Owns who is followed. Whoever is due (`follow`) is frozen, never while nothing happens, and goes to
the thread that writes files; there it is compared and appended (`journals`). It knows no byte of a
journal, and a bad disk costs nobody a line.
"""

import logging
import queue
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from npc_engine.character import Character
from npc_engine.errors import NpcError, SnapshotError
from npc_engine.follow import RETRY_S, Follow, Witness
from npc_engine.journals import Journals, NeedsFold
from npc_engine.stage import Stage
from npc_engine.writer import WriterThread

__all__ = ["Journaling"]

log = logging.getLogger("npc_engine")

MOST_AT_ONCE = 16  # are frozen in one step: that is to be no part of it that anybody notices
FOLD_BYTES = 256 << 10  # a load takes a tenth of a second for it; a journal may have far more

Outcome = int | NpcError | None
"""Of an append: the bytes of the journal, why it failed, or None where it needs a fold."""


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
        self._follows: dict[tuple[str, str], Follow] = {}
        self._left: dict[tuple[str, str], Follow] = {}  # whose last is not written yet
        self._done: queue.SimpleQueue[tuple[Follow, Outcome]] = queue.SimpleQueue()
        self._errors: dict[tuple[str, str], str] = {}
        self._n_under_way: Counter[str] = Counter()  # by slot; also of those who have left
        self._next: float | None = None  # when the next look is due

    # -- who -----------------------------------------------------------------------------------

    def follow(self, slot: str, who: Mapping[str, Witness], journals: Journals) -> None:
        """Journal these characters, whose snapshots in this slot are about to be written."""
        self._journals = journals
        for name, witness in who.items():
            character = witness[0]
            if not self.is_followed(slot, character):
                self._let_go((slot, name))  # of another life
                self._follows[slot, name] = Follow.of(slot, witness)
                character.on_line = self._line_begins

    def copied(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that what is submitted from now on goes behind these snapshots, whatever was before.

        A save is copied over seconds: what came since goes into a journal that it replaces.
        """
        for name, (character, n_changes) in who.items():
            follow = self._follows.get((slot, name))
            if follow is not None and follow.character is character:
                follow.seen = n_changes

    def lost(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that these snapshots were not written: what they had goes into the journals."""
        self.copied(slot, {name: (character, -1) for name, (character, _) in who.items()})

    def saved(self, slot: str, who: Mapping[str, Witness]) -> None:
        """Note that these characters' snapshots are safe on the disk."""
        for name, (character, n_changes) in who.items():
            follow = self._follows.get((slot, name))
            if follow is None or follow.character is not character:
                continue
            follow.is_safe, follow.is_folding = True, False
            follow.folded, follow.retry_s = n_changes, RETRY_S
            self._errors.pop((slot, name), None)
            if slot != self._own_slot:
                self._leave_others(slot, name)

    def late(self, slot: str, who: Mapping[str, Witness]) -> dict[str, dict[str, Any]]:
        """Return name -> state of those who have changed since they were frozen for a snapshot.

        It goes to the disk with the snapshot, which takes the place of a journal that may have it.
        """
        late = {}
        for name, (character, n_changes) in who.items():
            follow = self._follows.get((slot, name))
            if follow is None or follow.character is not character:
                continue
            state = self._frozen(follow) if character.n_changes != n_changes else None
            if state is not None:
                late[name] = state
                follow.seen = n_changes  # and look again: it costs nothing if all is there
        return late

    def failed(self, slot: str, names: Iterable[str], error: str) -> None:
        """Note that these characters' snapshots were not written: go on as before."""
        for name in names:
            follow = self._follows.get((slot, name))
            if follow is None:
                continue
            follow.is_folding = False
            if follow.is_safe:
                self._put_off(follow, error)
            else:
                del self._follows[slot, name]

    def _leave_others(self, slot: str, name: str) -> None:
        kept = (slot, self._own_slot)
        for key in [key for key in self._follows if key[1] == name and key[0] not in kept]:
            self._let_go(key)

    def leave(self, name: str) -> None:
        """Write the last of a character that has left the stage."""
        for follow in [follow for follow in self._follows.values() if follow.name == name]:
            del self._follows[follow.key]
            follow.last = self._frozen(follow)
            if follow.last is None:
                self._let_go(follow.key)
            else:
                self._left[follow.key] = follow
                self._submit(follow)

    def _let_go(self, key: tuple[str, str]) -> None:
        self._follows.pop(key, None)
        self._left.pop(key, None)
        self._errors.pop(key, None)
        if self._journals is not None:
            journals = self._journals
            self._thread.run(lambda: journals.forget(*key))

    def is_followed(self, slot: str, character: Character) -> bool:
        """Whether a character is journaled into a slot."""
        follow = self._follows.get((slot, character.npc.name))
        return follow is not None and follow.character is character

    def changed(self, slot: str) -> Iterator[str]:
        """Yield who has changed since its snapshot in a slot, and is not amid a line."""
        for follow in self._follows.values():
            if follow.slot == slot and follow.wants_fold:
                yield follow.name

    # -- when ----------------------------------------------------------------------------------

    def step(self, put_off: Collection[str] = ()) -> None:
        """Freeze whoever is due. `put_off`: slots that somebody waits to read."""
        self._next = None
        if not self._follows and not self._left:
            return
        now = self._clock()
        for left in self._left.values():
            if not left.n_under_way:
                self._submit_at(left, left.retry_at, now)
        n = 0
        for key, follow in list(self._follows.items()):
            if n == MOST_AT_ONCE:
                self._next = now  # the others in the next step
                break
            if not self._is_there(follow):
                self._let_go(key)  # another has been loaded in its place
            elif follow.slot in put_off or follow.n_under_way or follow.is_folding:
                continue
            elif follow.has_changed:
                n += self._submit_at(follow, follow.due(now), now)

    def _submit_at(self, follow: Follow, due: float, now: float) -> bool:
        if now >= due:
            self._submit(follow)
            return True
        self._next = due if self._next is None else min(due, self._next)
        return False

    def flush(self) -> None:
        """Submit at once all that has changed."""
        for follow in self._follows.values():
            if follow.has_changed and self._is_there(follow):
                self._submit(follow)
        for left in self._left.values():
            if not left.n_under_way:
                self._submit(left)

    def _is_there(self, follow: Follow) -> bool:
        return self._stage.characters.get(follow.name) is follow.character

    def _submit(self, follow: Follow) -> None:
        journals = self._journals
        follow.note_submitted()
        state = follow.last or self._frozen(follow)
        if journals is None or state is None:
            return
        slot, name = follow.key

        def job() -> None:
            self._done.put((follow, _append(journals, slot, name, state)))

        follow.n_under_way += 1
        self._n_under_way[slot] += 1
        self._thread.run(job)

    def _frozen(self, follow: Follow) -> dict[str, Any] | None:
        try:
            state = self._freeze(follow.character)
        except Exception:  # one character goes without; a save would tell
            log.exception("%r cannot be journaled", follow.name)
            return None
        return follow.without_line(state)

    def _line_begins(self, character: Character) -> None:
        follows = [f for f in self._follows.values() if f.character is character]
        for follow in follows:
            follow.before = self._frozen(follow)
        if not follows:
            character.on_line = None

    # -- what came of it -----------------------------------------------------------------------

    def note_written(self) -> None:
        """Take in what the writing thread has done."""
        while not self._done.empty():
            follow, outcome = self._done.get_nowait()
            self._n_under_way[follow.slot] -= 1
            follow.n_under_way -= 1
            if isinstance(outcome, NpcError):
                self._put_off(follow, str(outcome))
                continue
            follow.retry_s = RETRY_S
            if self._left.get(follow.key) is follow:
                self._is_out(follow, outcome)
            elif outcome is None or outcome > FOLD_BYTES:
                self._fold_one(follow)
            elif self._follows.get(follow.key) is follow:
                self._errors.pop(follow.key, None)

    def _is_out(self, follow: Follow, outcome: Outcome) -> None:
        if outcome is None:  # and there is nobody to make a snapshot of any more
            log.warning("The last of %r in %r was not written.", follow.name, follow.slot)
        if not follow.n_under_way:
            self._let_go(follow.key)

    def _put_off(self, follow: Follow, error: str) -> None:
        if follow not in (self._follows.get(follow.key), self._left.get(follow.key)):
            return
        if not self._errors:
            log.warning("%s It is tried again; nothing is lost as long as the engine runs.", error)
        self._errors[follow.key] = error
        follow.put_off(self._clock())

    def _fold_one(self, follow: Follow) -> None:
        if follow.is_folding or self._follows.get(follow.key) is not follow:
            return
        follow.is_folding = True
        self._fold(follow.slot, follow.name)

    def is_under_way(self, slot: str) -> bool:
        """Whether something for a slot is being written."""
        return self._n_under_way[slot] > 0

    def last_of(self, slot: str, name: str) -> dict[str, Any] | None:
        """Return what somebody was who has left, if the disk has not taken it yet."""
        left = self._left.get((slot, name))
        return left.last if left is not None else None

    def patience(self) -> float | None:
        """Return the seconds until the next look is due; None when nothing is."""
        return None if self._next is None else max(0.0, self._next - self._clock())

    @property
    def waits(self) -> bool:
        """Whether the writing thread has something to tell before long."""
        return any(self._n_under_way.values())

    @property
    def error(self) -> str:
        """Why a journal cannot be written just now, if so."""
        return next(iter(self._errors.values()), "")

    @property
    def n_journaled(self) -> int:
        """How many characters are."""
        return len({name for _, name in self._follows})


def _append(journals: Journals, slot: str, name: str, state: dict[str, Any]) -> Outcome:
    try:
        return journals.append(slot, name, state)
    except NeedsFold:
        return None
    except NpcError as error:
        return error
    except Exception as error:  # each has an outcome, whatever happens
        log.exception("journaling %r", name)
        return SnapshotError(f"The journal of {name!r} was not written: {error}.")
