"""Which tokens go into the next batch. Knows no llama, no text, no clock.

    batch   [row][row][row][ prefill of A . . . . ][ prefill of B . . ]
             decode rows    <------ at most `chunk` tokens ------>
    <----------------------- at most n_batch tokens ------------------>

Rules
 1. A sequence that is speaking has one pending token: its decode row. Decode rows go first.
    (Speaking with more pending: its cache was lost or renumbered, and is read again as prefill.)
 2. Prefill fills the rest, at most `chunk` tokens in all, so that a step stays short for those
    who speak. First by priority (player, near, ambient), then in order of arrival.
 3. While a player's line is being read, ambient speech pauses: its rows stay out.
 4. Whoever was left out PATIENCE steps in a row counts as one priority higher for each such
    stretch: nobody starves. Not while somebody else reads for it (see `prefix_cache`).
 5. Idle reading (personas, events, half-typed lines) only when nobody speaks or waits to. First
    who is likely to speak next: whoever is attended or half spoken to, the latest first; then who
    was spoken to last; then in order of spawn. Beside speech that is not for the player read, too:
    whoever is attended or half spoken to, since villagers may chatter all the time; and who hears
    it in a scene (`listening`), since that is who answers next. Not what is read again: that is
    for pauses.
 6. Where rows take much of a step (`rows_wait`), they stay out while a line no less urgent is being
    read: else each that begins to speak would make the next one wait longer for its first token.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from npc_engine.kvcache.sequence import Sequence

__all__ = ["Claim", "Priority", "Run", "is_read_for", "may_read", "n_rows", "schedule"]

PATIENCE = 16


class Priority(IntEnum):
    """Who goes first. Lower is more urgent."""

    PLAYER = 0
    NEAR = 1
    AMBIENT = 2
    IDLE = 3


@dataclass(slots=True, eq=False)
class Claim:
    """A sequence's wish for a place in the batch.

    `order`: arrival of the line that it answers, or has answered last; lower is earlier, 0 is none.
    `expected`: arrival of the latest sign since then that it will be spoken to, 0 is none.
    `called`: it is to have a slot for that, though nobody waits yet (see `slots`). `asleep`: it has
    pending tokens, but is not to be read until it is spoken to. `watched`: what it would say next
    is looked at also when nobody speaks to it (see `recurrent_drift`). `listening`: rule 5.
    `last_use`: when it last had a slot since it spoke or was called, as `slots` counts; 0: never.
    `n_stood`: how often it got no slot because somebody more urgent has it.
    `number`: who has come first has the lowest.
    """

    name: str
    sequence: Sequence
    priority: Priority
    order: int
    speaking: bool = False
    n_skipped: int = 0
    asleep: bool = False
    watched: bool = False
    expected: int = 0
    called: bool = False
    listening: bool = False
    last_use: int = 0
    n_stood: int = 0
    number: int = 0

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for it to speak; otherwise it is idle reading."""
        return self.priority is not Priority.IDLE

    @property
    def is_row(self) -> bool:
        """Whether all it wants is its decode row (rule 1)."""
        return self.speaking and self.sequence.n_pending == 1

    @property
    def wanted(self) -> int:
        """Arrival of the last thing by which somebody spoke to it, or was about to."""
        return max(self.order, self.expected)

    @property
    def rank(self) -> tuple[int, int, int]:
        """Sort key: priority with its ageing (rule 4), then arrival; for idle reading rule 5."""
        if self.priority is Priority.IDLE:
            # Of those who were never spoken to none goes first: sorting leaves them as they came.
            return (Priority.IDLE, 0 if self.expected else 1, -self.wanted)
        return (max(0, self.priority - self.n_skipped // PATIENCE), 0, self.order)


@dataclass(slots=True, frozen=True)
class Run:
    """`n_tokens` of a claim's pending tokens for this batch; `last`: they are all of them."""

    claim: Claim
    n_tokens: int
    last: bool


def schedule(
    claims: Iterable[Claim], n_batch: int, chunk: int, rows_wait: bool = False
) -> list[Run]:
    """Return the runs of the next batch, in batch order; ages those left out (not idle ones)."""
    waiting = [c for c in claims if c.sequence.n_pending]
    allowed = may_read(waiting)
    runs: list[Run] = []
    n_free = n_batch
    for claim in _rows(allowed, rows_wait):
        if n_free:
            runs.append(Run(claim, 1, True))
            n_free -= 1
    n_free = min(n_free, max(chunk, 1))
    for claim in (c for c in allowed if not c.is_row):
        n = min(n_free, claim.sequence.n_ready)
        if n:
            runs.append(Run(claim, n, n == claim.sequence.n_pending))
            n_free -= n
    _age(waiting, runs)
    return runs


def may_read(claims: Iterable[Claim]) -> list[Claim]:
    """Return whose tokens the next batch may hold, most urgent first (rules 3 and 5)."""
    waiting = sorted((c for c in claims if c.sequence.n_pending), key=lambda c: c.rank)
    urgent = [c for c in waiting if c.urgent]
    return _without_paused(urgent) + _ahead(waiting, urgent) if urgent else waiting


def n_rows(claims: Iterable[Claim], rows_wait: bool = False) -> int:
    """Return how many decode rows the next batch has: prefill gets what they leave of a step."""
    urgent = [c for c in claims if c.urgent and c.sequence.n_pending]
    return len(_rows(_without_paused(urgent), rows_wait))


def is_read_for(claims: Iterable[Claim]) -> bool:
    """Return whether rows would wait for a line that is being read (rule 6)."""
    claims = list(claims)
    return n_rows(claims, rows_wait=True) < n_rows(claims)


def _rows(allowed: list[Claim], rows_wait: bool) -> list[Claim]:
    """Rules 1 and 6."""
    rows = [c for c in allowed if c.is_row]
    if not rows_wait:
        return rows
    read = [c.priority for c in allowed if c.urgent and not c.speaking and c.sequence.n_ready]
    return [c for c in rows if c.priority < min(read, default=Priority.IDLE)]


def _without_paused(urgent: list[Claim]) -> list[Claim]:
    """Rule 3, with rule 4 as its limit."""
    if not any(c.priority is Priority.PLAYER and not c.speaking for c in urgent):
        return urgent
    return [c for c in urgent if c.rank[0] < Priority.AMBIENT]


def _ahead(waiting: list[Claim], urgent: list[Claim]) -> list[Claim]:
    """Rule 5: who reads ahead beside speech."""
    if any(c.priority is Priority.PLAYER for c in urgent):
        return []
    return [
        c
        for c in waiting
        if (c.listening or c.expected) and not (c.urgent or c.sequence.is_reading_again)
    ]


def _age(waiting: list[Claim], runs: list[Run]) -> None:
    served = {id(run.claim) for run in runs}
    for claim in waiting:
        if claim.urgent and not claim.sequence.n_ready:
            continue
        left_out = claim.urgent and id(claim) not in served
        claim.n_skipped = claim.n_skipped + 1 if left_out else 0
