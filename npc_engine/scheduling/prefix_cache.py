"""Prefixes that personas have in common: read once, kept as bytes, put into every further slot.

    mara    [BOS, markup, the world . . . . . . | You are Mara . . . | turns . . .
    bram    [BOS, markup, the world . . . . . . | You are Bram . . .
             0 .. n - 1: a prefix, read once      read by each

Owns the kept prefixes, who could use them, and who reads one for all. It knows sequences and
claims, but no text, no turn and no llama. Every slot owns its cells, so what is shared is the
reading; the bytes are `export`ed by this process, and stand at positions 0 .. n - 1 everywhere.

Rules
 1. What is shared is found, not declared: the longest prefix that a persona has in common with any
    other one on the stage, and the world. A persona's *stops* are the ends of these.
 2. Whoever has read less of its persona than is to be had gets the cells: out of a kept prefix,
    or out of the slot of somebody who has read it. Where cells can be cut off at the end (plain
    attention), any slot or payload that begins alike will do; a recurrent state, or a window that
    has slid on, only when it has read that much and no more.
 3. Of those who would read the same, the most urgent reads, and the others wait: no token of a
    prefix is read twice. It stops at the stop, and the cells are kept there.
 4. A prefix has at least MIN_TOKENS more than the next shorter one. At most MOST_KEPT stay, and
    together no more tokens than one slot holds: those that save all characters together the most
    tokens. One that saves nothing, since its last user has left or all have a longer one, goes at
    once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from npc_engine.kvcache.sequence import Sequence
from npc_engine.kvcache.tokens import n_common
from npc_engine.scheduling.batching import Claim, may_read
from npc_engine.scheduling.prefix_index import PrefixIndex, Tokens, n_shorter

__all__ = ["MIN_TOKENS", "MOST_KEPT", "PrefixCache"]

log = logging.getLogger("npc_engine")

MIN_TOKENS = 32
"""Fewer are not worth a payload: a template's markup and "You are" take 5 to 25 tokens, which are
read with the rest of a step's smallest chunk (16) and cost no step of their own."""

MOST_KEPT = 4
"""Payloads in memory: a world, and a few groups within it. 600 tokens of a 135M model are 13 MB."""

Source = tuple[Tokens, bool, Callable[[], bytes | None]]
"""Tokens whose cells are to be had, whether there are no other cells behind them, the bytes."""


@dataclass(eq=False)
class _User:
    """A character on the stage: its persona, and where that is read."""

    name: str
    tokens: Tokens
    sequence: Sequence

    @property
    def n_cells(self) -> int:
        return self.sequence.ledger.n_cells

    @property
    def source(self) -> Source:
        """What of its persona is in its slot."""
        n = min(self.sequence.ledger.first_hole, len(self.tokens))
        return self.tokens[:n], n == self.n_cells, self.sequence.cells


class PrefixCache:
    """The prefixes that those on the stage have in common.

    `world`: tokens with which most of them begin. `n_cells`: tokens that one slot holds. `trims`:
    whether cells can be cut off at the end of a slot; when that fails, it is not tried again.
    """

    def __init__(self, world: Iterable[int] = (), *, n_cells: int, trims: bool = True) -> None:
        self.n_restored = 0
        self._world = tuple(world)
        self._n_cells = n_cells
        self._trims = trims
        self._works = True
        self._kept: dict[Tokens, bytes] = {}
        self._users: dict[str, _User] = {}
        self._personas = PrefixIndex()
        self._stops: dict[str, list[int]] = {}  # of each user, until somebody comes or goes
        self._wanted: dict[Tokens, bool] = {}  # until that, or until something is kept
        self._readers: list[tuple[_User, int]] = []

    @property
    def n_kept(self) -> int:
        """Prefixes that are kept."""
        return len(self._kept)

    @property
    def n_bytes(self) -> int:
        """Memory that they take, in bytes."""
        return sum(map(len, self._kept.values()))

    # -- who is there ----------------------------------------------------------------------------

    def join(self, name: str, sequence: Sequence) -> None:
        """Take in a character that comes on the stage."""
        ledger = sequence.ledger
        user = _User(name, tuple(ledger.tokens()[: ledger.n_persona]), sequence)
        self._users[name] = user
        self._personas.add(name, user.tokens)
        self._stops.clear()
        self._wanted.clear()

    def leave(self, name: str) -> None:
        """Let a character go, which is still in its slot; what nobody else needs goes with it."""
        user = self._users.get(name)
        if user is None:
            return
        if any(reader is user for reader, _ in self._readers):
            self._keep(user)  # others wait for it
        del self._users[name]
        self._readers = [(reader, stop) for reader, stop in self._readers if reader is not user]
        self._personas.remove(name, user.tokens)
        self._stops.clear()
        self._set_kept(self._kept)

    def n_shared(self, name: str) -> int:
        """Return how many tokens of a persona are shared with others, or with the world."""
        user = self._users[name]
        shared = max(self._n_world(user), self._n_common(user))
        return shared if shared >= MIN_TOKENS else 0

    def _n_world(self, user: _User) -> int:
        n = len(self._world)
        return n if user.tokens[:n] == self._world else 0

    def _n_common(self, user: _User) -> int:
        return self._personas.n_common(user.name, user.tokens)

    def _n_users(self, tokens: Tokens) -> int:
        """Who begins like this; the world has one user more, whoever comes next."""
        n = self._personas.n_that_begin_with(tokens)
        return n + 1 if n and tokens == self._world else n

    # -- before a batch --------------------------------------------------------------------------

    def collect(self, claims: Iterable[Claim]) -> None:
        """Keep what readers have read, before anybody is parked. `claims`: of all who want a slot.

        Where somebody may have to leave, also what is half read: others go on from there. Not what
        is nearly read: it would stand in the way of the whole (rule 4).
        """
        if not self._readers:
            return
        is_crowded = any(c.urgent and c.sequence.slot is None for c in claims)
        for user, stop in self._readers:
            n_left = stop - user.n_cells
            if not n_left or (is_crowded and n_left >= MIN_TOKENS):
                self._keep(user)

    def lend(self, claims: list[Claim]) -> None:
        """Give to each what has been read already, and choose who reads the rest for all.

        `claims`: of all who have a slot. Who may not read on in the next batch is given nothing.
        """
        self._readers = []
        for claim in claims:
            claim.sequence.stop = None
        for claim in may_read(claims):
            user = self._users.get(claim.name)
            if user is not None and self._works:
                self._lend(user)

    def _lend(self, user: _User) -> None:
        stops = self._stops_of(user)
        if not stops or user.n_cells > stops[-1]:
            return
        if self._is_being_read(user, stops[-1]):
            user.sequence.stop = user.n_cells
            return
        self._borrow(user, stops[-1])
        if user.n_cells in stops:
            self._keep(user)
        wanted = (n for n in stops if n > user.n_cells and self._is_wanted(user.tokens[:n]))
        stop = next(wanted, None)
        if stop is not None:
            user.sequence.stop = stop
            self._readers.append((user, stop))

    def _stops_of(self, user: _User) -> list[int]:
        """Where a persona's prefixes end: the world's, and the longest in common."""
        stops = self._stops.get(user.name)
        if stops is None:
            stops = self._stops[user.name] = []
            for n in (self._n_world(user), self._n_common(user)):
                if n >= MIN_TOKENS + (stops[-1] if stops else 0):
                    stops.append(n)
        return stops

    def _is_being_read(self, user: _User, n_most: int) -> bool:
        """Whether somebody more urgent is yet to read what this one would, so that it can have it.

        Where cells can be cut off, it need not wait until that one stops.
        """
        for reader, stop in self._readers:
            n = n_common(reader.tokens[:stop], user.tokens[:n_most])
            can_be_had = n > reader.n_cells if self._trims else n == stop
            if can_be_had and n > user.n_cells and n >= MIN_TOKENS:
                return True
        return False

    def _borrow(self, user: _User, n_most: int) -> None:
        """Fill a slot with the cells of up to `n_most` tokens that are to be had somewhere."""
        n_best, best = user.n_cells, None
        wanted = user.tokens[:n_most]
        for source in self._sources(user):
            tokens, is_whole, _ = source
            fits = is_whole and len(tokens) <= n_most
            n = n_best + (1 if fits else MIN_TOKENS)  # all of it is copied: not for a few tokens
            if n > n_most or tokens[:n] != wanted[:n] or not (is_whole or self._trims):
                continue
            n = n_common(tokens, wanted)
            if self._trims or n == len(tokens):
                n_best, best = n, source
        if best is not None and not self._take(user, n_best, best) and self._works:
            self._borrow(user, n_most)  # what it had is lost now; it may be had without cutting

    def _sources(self, user: _User) -> Iterator[Source]:
        for tokens, payload in self._kept.items():
            yield tokens, True, partial(bytes, payload)
        for other in self._users.values():
            if other.sequence.slot is not None and other is not user:
                yield other.source

    def _take(self, user: _User, n: int, source: Source) -> bool:
        """Copy cells into a slot; False when they have not come, and what was there is gone."""
        tokens, is_whole, export = source
        payload = export()
        if not payload:  # they cannot be had just now
            return True
        n_before = user.n_cells
        trims = not is_whole or n < len(tokens)
        if user.sequence.begin_with(payload, n, trims=trims):
            self.n_restored += n - n_before
            return True
        if trims:  # a sliding window has lost what stands behind it
            self._trims = False
        else:
            log.warning("Cells cannot be copied between slots: every character reads for itself.")
            self._works = False
            self._set_kept({})
        return False

    # -- what is kept ----------------------------------------------------------------------------

    def _keep(self, user: _User) -> None:
        """Keep what a sequence has read of its persona, if that is worth it."""
        tokens, is_whole, export = user.source
        if user.sequence.slot is None or not is_whole or not self._is_wanted(tokens):
            return
        payload = export()
        if payload:
            self._set_kept({**self._kept, tokens: payload})

    def _is_wanted(self, tokens: Tokens) -> bool:
        wanted = self._wanted.get(tokens)
        if wanted is None:
            before = list(self._kept)
            kept = self._worth_keeping([*before, tokens]) if tokens not in self._kept else []
            wanted = tokens in kept and self._n_saved(kept) > self._n_saved(before)
            self._wanted[tokens] = wanted
        return wanted

    def _set_kept(self, kept: dict[Tokens, bytes]) -> None:
        self._kept = {tokens: kept[tokens] for tokens in self._worth_keeping(list(kept))}
        self._wanted.clear()

    def _worth_keeping(self, kept: list[Tokens]) -> list[Tokens]:
        """Rule 4."""
        kept = [t for t in kept if len(t) - n_shorter(t, kept) >= MIN_TOKENS]
        while kept:
            fewer = [[t for t in kept if t is not one] for one in kept]
            best = max(fewer, key=self._n_saved)
            fits = len(kept) <= MOST_KEPT and sum(map(len, kept)) <= self._n_cells
            if fits and self._n_saved(best) < self._n_saved(kept):
                break
            kept = best
        return kept

    def _n_saved(self, kept: list[Tokens]) -> int:
        """Tokens that all users together need not read with these prefixes."""
        return sum(self._n_users(t) * (len(t) - n_shorter(t, kept)) for t in kept)
