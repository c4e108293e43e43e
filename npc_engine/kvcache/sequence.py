"""One character's timeline: its ledger, and the slot of the KV cache that mirrors it.

Owns the pairing of the two: whatever leaves the ledger leaves the cache, also when the sequence is
parked (then as soon as it comes back). It knows no text, no turns and no other sequence.

Where there is a recurrent state, `state_copies` keeps what it goes back to.
"""

from collections.abc import Callable

from npc_engine.kvcache.cache import Cache
from npc_engine.kvcache.ledger import Ledger, Range, Segment
from npc_engine.kvcache.payload import Payload
from npc_engine.kvcache.state_copies import Aside, StateCopies

__all__ = ["Sequence"]


class Sequence:
    """A ledger and where its cells are: in a slot, parked, or nowhere yet.

    `copy`: the parked copy while there is one. Where its bytes are is not for the sequence to know.
    """

    def __init__(self, ledger: Ledger, cache: Cache) -> None:
        self.ledger = ledger
        self.slot: int | None = None
        self.copy: Payload | None = None
        # How many tokens may be read for now, None for all: somebody else reads on for it, or its
        # cells are to be kept there (see `prefix_cache`).
        self.stop: int | None = None
        self._cache = cache
        # What the parked copy owes to the ledger, in order: ranges that have left it (by is None),
        # and cells that have moved.
        self._owed: list[tuple[int, int, int | None]] = []
        self.states = StateCopies(cache)
        self._aside: Aside | None = None

    @property
    def n_pending(self) -> int:
        """Tokens not in the cache yet."""
        return self.ledger.n_tokens - self.ledger.n_cells

    @property
    def keeps_states(self) -> bool:
        """Whether it has a recurrent state beside its cells, or in their place."""
        return self._cache.keeps_states

    @property
    def n_ready(self) -> int:
        """Pending tokens that may go into one batch: none beyond `stop`, and of a persona whose
        state is to be kept, no more than the persona.
        """
        n_cells, n_tokens, n_persona = (
            self.ledger.n_cells,
            self.ledger.n_tokens,
            self.ledger.n_persona,
        )
        stop = n_tokens if self.stop is None else min(self.stop, n_tokens)
        if self._cache.keeps_states and not self.states and n_cells < n_persona:
            stop = min(stop, n_persona)
        return max(0, stop - n_cells)

    @property
    def n_parked_bytes(self) -> int:
        """Memory that parking and kept states take, in bytes."""
        n = self.states.n_bytes
        n += self.copy.n_bytes if self.copy is not None else 0
        return n + (len(self._aside.payload) if self._aside is not None else 0)

    @property
    def n_bytes_to_park(self) -> int | None:
        """Bytes of its cells, which parking it would copy; None when they cannot be had now."""
        if self.slot is None or not self.ledger.n_cells:
            return 0
        return self._cache.export_size(self.slot) or None

    @property
    def parked(self) -> bytes | None:
        """The parked cells, read from wherever they are; None when there are none."""
        parts = self.copy.read() if self.copy is not None else None
        return parts[0] if parts else None

    def commit(self, n: int) -> None:
        """Note that `n` more tokens were read."""
        self.ledger.commit(n)
        if self._aside is not None and not self._aside.to_compare and not self.n_pending:
            self._aside = None
        if not self.states and self.ledger.n_cells == self.ledger.n_persona:
            self.keep_state()

    def keep_state(self) -> None:
        """Keep a copy of a recurrent state as it is now, where there is one."""
        if self._cache.keeps_states and self.slot is not None and self.ledger.n_cells:
            self.states.keep(self.slot, self.ledger.next_pos)

    def beside(self, ledger: Ledger) -> "Sequence":
        """Return one of another ledger, in the same cache and without a slot."""
        return Sequence(ledger, self._cache)

    def append(self, segment: Segment) -> None:
        """Add a segment at the tail."""
        self.ledger.append(segment)

    def drop(self, segments: list[Segment]) -> None:
        """Remove segments wherever they stand."""
        if segments:
            self._remove(self.ledger.drop(segments))

    def cut(self, segment: Segment, n_keep: int) -> None:
        """Keep the first `n_keep` tokens of the last segment."""
        self._remove(self.ledger.cut(segment, n_keep))

    def make_room(self, n_new: int, turn: int, n_events: int = 0) -> None:
        """Evict until `n_new` more tokens fit, and renumber when positions run out.

        `n_events`: of these, the tokens of an event.
        """
        self._remove(self.ledger.make_room(n_new, turn, n_events))
        if self.ledger.needs_renumbering(n_new):
            self.renumber()

    def tidy(self) -> bool:
        """In a pause: close the holes when it is time for it; whether it was.

        What has to be read again for that can be given up when the pause is over.
        """
        if self.slot is None or self._aside is not None or not self.ledger.wants_renumbering:
            return False
        if self._cache.can_shift:
            self.renumber()
            self._cache.settle(self.slot)
        else:
            self._again(self.renumber)
        return True

    def renumber(self) -> None:
        """Close the holes, by moving the cells, or else by reading again from the first one on."""
        self.ledger.n_renumbered += 1
        if not self._cache.can_shift:
            self._forget_from(self.ledger.first_hole)
            return
        moves = self.ledger.close_holes()
        if self.slot is None:
            self._owed += moves
            return
        for first, last, by in moves:
            self._cache.shift(self.slot, first, last, by)

    # -- reading again, in a pause ---------------------------------------------------------------

    def read_again(self) -> None:
        """Make all behind the persona pending again: a recurrent state has echoes of the past.

        `give_up_reading_again` undoes it until `read_again_is_over` is called.
        """
        self._again(lambda: self._roll_back(self.ledger.n_persona), to_compare=True)

    @property
    def is_reading_again(self) -> bool:
        """Whether the cache is put aside, while it is read again or until that is over."""
        return self._aside is not None

    def read_again_is_over(self) -> None:
        """Let go of the cache as it was before."""
        self._aside = None

    def give_up_reading_again(self) -> None:
        """Go back to the cache as it was before; what has left the ledger since leaves it now."""
        aside, self._aside = self._aside, None
        if aside is None or self.slot is None:
            return
        self.forget_cache()
        if not self._cache.restore(self.slot, aside.payload):
            return
        self.states.kept = aside.states
        self.ledger.n_renumbered = aside.n_renumbered
        # Where cells can leave the end, reading goes on behind the last that is left.
        next_pos = aside.next_pos if self._cache.keeps_states else 0
        self._remove(self.ledger.recache(aside.cells, next_pos))
        if self.ledger.needs_renumbering(0):  # what came since had room behind what was read again
            self.renumber()

    def _again(self, forget: Callable[[], None], to_compare: bool = False) -> None:
        """Put the cache aside, and let `forget` make tokens pending.

        It is let go of when they are read, or, `to_compare`, when somebody says so.
        """
        if self.slot is None:
            return
        ledger = self.ledger
        aside = Aside(
            self._cache.export(self.slot),
            list(self.states.kept),
            ledger.next_pos,
            ledger.n_renumbered,
            [(s, s.start, s.tokens[: s.n_cached]) for s in ledger.segments if s.n_cached],
            to_compare,
        )
        forget()
        self._aside = aside

    def forget_cache(self) -> None:
        """Empty the slot (or the parked copy): all tokens are pending again."""
        self._aside = None
        self.ledger.uncache(0)
        self._release_copy()
        self._owed.clear()
        self.states.clear()
        if self.slot is not None:
            self._cache.remove(self.slot, 0, -1)

    def _forget_from(self, first: int) -> None:
        """Make all from a position on pending again."""
        if self.slot is None or not first:
            self.forget_cache()
        elif self._cache.remove(self.slot, first, -1):
            self.ledger.uncache(first)
        else:
            self._roll_back(first)

    def _roll_back(self, first: int) -> None:
        """Go back to the last kept state from before position `first`; without one, to nothing."""
        end = self.states.go_back(self.slot, first) if self.slot is not None else 0
        if end:
            self.ledger.uncache(end, end)
        else:
            self.forget_cache()

    def begin_with(self, payload: bytes, n: int, *, trims: bool) -> bool:
        """Fill the slot with cells of its first `n` tokens, in the place of what it has read.

        `payload`: what another slot of this cache exported. `trims`: it has more cells behind
        these, which leave. Nothing is read yet when it is False: they do not fit, or do not go.
        """
        aside = self._aside
        self.forget_cache()
        self._aside = aside  # it may be reading again: this is how it reads
        slot = self.slot
        if slot is None or not self._cache.restore(slot, payload):
            return False
        if trims and not self._cache.remove(slot, n, -1):
            self._cache.remove(slot, 0, -1)
            return False
        self.commit(n)
        return True

    def take_slot(self, slot: int) -> None:
        """Move into a free slot. A copy that is lost or does not fit costs a new prefill."""
        self._cache.remove(slot, 0, -1)
        self.slot = slot
        parts = self.copy.read() if self.copy is not None else None
        self._release_copy()
        owed, self._owed = self._owed, []
        if parts and self._cache.restore(slot, parts[0]):
            self.states.take_over(parts[1:])
            self._settle(owed)
        else:
            self.forget_cache()

    def _release_copy(self) -> None:
        copy, self.copy = self.copy, None
        if copy is not None:
            copy.release()

    def _settle(self, owed: list[tuple[int, int, int | None]]) -> None:
        for first, last, by in owed:
            if by is not None:
                self._cache.shift(self.slot or 0, first, last, by)
            else:
                self._drop_cells(first, last)

    def park(self) -> None:
        """Move out of the slot, with the states that are kept beside it."""
        if self.slot is None:
            return
        self.give_up_reading_again()
        slot, self.slot = self.slot, None
        payload = self._cache.export(slot) if self.ledger.n_cells else b""
        if payload:
            self.copy = Payload(payload, *self.states.hand_over())
        self._cache.remove(slot, 0, -1)

    def adopt(self, payload: bytes, holes: list[Range]) -> None:
        """Take cells from a save: like a parked copy, from which `holes` still have to leave."""
        self.copy = Payload(payload)
        self._owed = [(first, last, None) for first, last in holes]

    def payload(self) -> Payload | None:
        """Return the cells as they are, wherever that is; None when there are none to be had.

        A parked copy may hold cells that have left the ledger since: `holes` names them. One whose
        cells have moved since is of no use to a save.
        """
        if self.slot is not None:
            cells = self.cells()
            return Payload(cells) if cells else None
        if self.ledger.tail:
            return None
        return None if any(by is not None for _, _, by in self._owed) else self.copy

    def cells(self) -> bytes:
        """Return the slot's cells as bytes, none when they cannot be had."""
        if self.slot is None or not self.ledger.n_cells:
            return b""
        if self.ledger.tail:  # nobody who gets them knows that reading goes on behind a gap
            return b""
        return self._cache.export(self.slot)

    @property
    def holes(self) -> list[Range]:
        """Positions that are in the parked copy but no more in the ledger."""
        return [(first, last) for first, last, _ in self._owed]

    def _remove(self, ranges: list[Range]) -> None:
        if self.slot is None:
            self._owed += [(first, last, None) for first, last in ranges]
            return
        for first, last in ranges:
            self._drop_cells(first, last)

    def _drop_cells(self, first: int, last: int) -> None:
        if not self._cache.remove(self.slot or 0, first, last):
            self._roll_back(first)
