"""One sequence's segments and positions: the truth that can always rebuild the KV cache.

Owns what is pinned, what to evict, where holes are, when to close them. Pure arithmetic: it decodes
nothing and knows no text. Whoever calls it mirrors the ranges it returns in the cache.

    segment   persona         turn 1     turn 2        turn 3 (open)
    tokens    [p p p p p p p] [t t t t]  [t t t t t]   [t t t|. . .]
    position   0 1 2 3 4 5 6   - hole -   11 .. 15      16 .. 18  ^pending
               pinned          evicted    cached        cached    no position yet

Rules
 1. Segments stand in the order in which they were spoken, and are cached in that order: a token
    is cached only when every surviving token before it is.
 2. A cached token keeps its position until it leaves; a pending token has none yet.
 3. The next position is the end of the last cached token. llama.cpp wants the tail contiguous;
    holes anywhere before it are free (measured: perplexity as with re-rotation, which is what
    arXiv 2309.17453 does).
 4. Pinned segments are never evicted. The persona comes first: its first tokens are the sink
    tokens. Pinned turns stay where they are, whole.
 5. Whole turns are evicted, so that what remains is a well-formed chat, and in the open turn single
    events: they are whole paragraphs of it. As few as make room: an eviction costs nothing, so
    there is no reason to leave cells empty.
 6. They leave in one order, the oldest first: each event of the open turn and each turn before it
    makes what came earlier one older, and importance makes it count as older or younger than it
    is. But events of the open turn beyond EVENTS_SHARE leave before any turn: a flood of them is
    no reason to forget a talk. What others say there is talk itself, and has no share.
 7. Where the persona leaves a user turn open (`joined`), the first turn after it has no opener; so
    when turns are evicted, the opener of the first that remains goes too.
 8. Holes are closed (`close_holes`) before a position would reach `n_pos`: at once when none is
    left, and gladly in a pause once 75 % are used. Cells move down in order and keep their order;
    where a cache cannot move them, all is read again from 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Any

from npc_engine.kvcache.tokens import n_common

__all__ = [
    "EVENTS_SHARE",
    "RENUMBER_AT",
    "Cells",
    "Kind",
    "Ledger",
    "Move",
    "Range",
    "Segment",
    "oldest",
]

Range = tuple[int, int]
"""Positions [first, last) that left the cache."""

Move = tuple[int, int, int]
"""Positions [first, last) of the cache, and by how many they move (less than 0)."""

RENUMBER_AT = 0.75
"""Part of the positions from which on holes are closed in a pause. Holes are free at first, and
cost a percent of perplexity near the limit, as the sink tokens get far away."""

IMPORTANCE = 16.0
"""How much longer the most important turn stays than the least: 4 times as long as an ordinary
one (importance 0.5), which stays 4 times as long as a trivial one."""

EVENTS_SHARE = 0.40
"""Part of the window beside all that is pinned for which events of the open turn may drive out the
past. Where there is room they may have all of it."""


class Kind(StrEnum):
    """What a segment is."""

    PERSONA = "persona"
    OPEN = "open"
    EVENT = "event"
    SAID = "said"
    NOTE = "note"
    CLOSE = "close"
    REPLY = "reply"
    END = "end"


@dataclass(slots=True, eq=False)
class Segment:
    """A run of tokens evicted or kept as one. `start` is its first position while n_cached > 0.

    `utterance`: of which talk of others it is a part (see `overheard`), 0 for none. `speaker`:
    who said it, where that is known. `cut_off`: a reply that was interrupted. `extra`: what a newer
    version saved with it.
    """

    kind: Kind
    tokens: list[int]
    text: str = ""
    turn: int = 0
    pinned: bool = False
    importance: float = 0.5
    expires: float | None = None
    start: int = 0
    n_cached: int = 0
    utterance: int = 0
    speaker: str = ""
    cut_off: bool = False
    extra: dict[str, Any] | None = None

    @property
    def end(self) -> int:
        """The position after the last cached token."""
        return self.start + self.n_cached


Cells = tuple[Segment, int, list[int]]
"""Which tokens of a segment are cached, from which position on."""


@dataclass
class Ledger:
    """The segments of one sequence. Counts are in tokens.

    `window`: most tokens it may hold. `n_pos`: positions the model can do. `joined`: rule 7.
    `tail`: where reading goes on when that is behind a gap (see `uncache`), else 0.
    """

    window: int
    n_pos: int
    joined: bool = False
    segments: list[Segment] = field(default_factory=list)
    n_tokens: int = 0
    n_pinned: int = 0
    n_cells: int = 0
    n_evicted: int = 0
    n_renumbered: int = 0
    tail: int = 0

    @property
    def n_pending(self) -> int:
        """Tokens not in the cache yet."""
        return self.n_tokens - self.n_cells

    @property
    def n_persona(self) -> int:
        """Tokens of the persona, which stands first."""
        n = 0
        for segment in self.segments:
            if segment.kind is not Kind.PERSONA:
                break
            n += len(segment.tokens)
        return n

    @property
    def next_pos(self) -> int:
        """The position of the next token to be decoded (rule 3)."""
        for segment in reversed(self.segments):
            if segment.n_cached:
                return max(segment.end, self.tail)
        return self.tail

    @property
    def renumber_at(self) -> int:
        """The position from which on holes are closed in a pause (rule 8)."""
        return ceil(RENUMBER_AT * self.n_pos)

    @property
    def wants_opener(self) -> bool:
        """Whether the next turn must open its user turn itself (rule 7)."""
        return not self.joined or any(s.kind is not Kind.PERSONA for s in self.segments)

    def tokens(self) -> list[int]:
        """All surviving tokens in order: what rebuilds the cache."""
        return [token for segment in self.segments for token in segment.tokens]

    def append(self, segment: Segment) -> None:
        """Add a segment at the tail, pending."""
        segment.n_cached = 0
        self.segments.append(segment)
        self.n_tokens += len(segment.tokens)
        if segment.pinned:
            self.n_pinned += len(segment.tokens)

    def append_token(self, token: int) -> None:
        """Add one token to the last segment, pending."""
        last = self.segments[-1]
        last.tokens.append(token)
        self.n_tokens += 1
        self.n_pinned += last.pinned

    def pending(self, limit: int) -> list[int]:
        """Return up to `limit` tokens that are to be decoded next, from `next_pos` on."""
        parts: list[list[int]] = []
        for segment in reversed(self.segments):
            if segment.n_cached == len(segment.tokens):
                if segment.tokens:
                    break
                continue
            parts.append(segment.tokens[segment.n_cached :])
            if segment.n_cached:
                break
        return [token for part in reversed(parts) for token in part][:limit]

    def commit(self, n: int) -> None:
        """Note that the next `n` pending tokens are in the cache now."""
        position = self.next_pos
        self.tail = 0
        self.n_cells += n
        for segment in self._uncached():
            take = min(n, len(segment.tokens) - segment.n_cached)
            if not segment.n_cached:
                segment.start = position
            segment.n_cached += take
            position += take
            n -= take
            if not n:
                return

    def _uncached(self) -> list[Segment]:
        """The segments that hold pending tokens, in order."""
        found = []
        for segment in reversed(self.segments):
            if segment.n_cached < len(segment.tokens):
                found.append(segment)
            elif segment.tokens:
                break
        return found[::-1]

    def drop(self, segments: list[Segment]) -> list[Range]:
        """Remove these segments wherever they stand; returns what must leave the cache."""
        gone = {id(s) for s in segments}
        self.segments = [s for s in self.segments if id(s) not in gone]
        self.n_tokens -= sum(len(s.tokens) for s in segments)
        self.n_cells -= sum(s.n_cached for s in segments)
        self.n_pinned -= sum(len(s.tokens) for s in segments if s.pinned)
        return _merge([(s.start, s.end) for s in segments if s.n_cached])

    def cut(self, segment: Segment, n_keep: int) -> list[Range]:
        """Keep only the first `n_keep` tokens of a segment, mostly the last."""
        n_cut = max(0, len(segment.tokens) - n_keep)
        n_uncache = max(0, segment.n_cached - n_keep)
        ranges = [(segment.end - n_uncache, segment.end)] if n_uncache else []
        del segment.tokens[n_keep:]
        segment.n_cached -= n_uncache
        self.n_tokens -= n_cut
        self.n_cells -= n_uncache
        self.n_pinned -= n_cut if segment.pinned else 0
        return ranges

    def pin(self, segments: list[Segment], pinned: bool) -> None:
        """Keep these segments for ever, or no longer."""
        for segment in segments:
            if segment.pinned is not pinned:
                segment.pinned = pinned
                self.n_pinned += len(segment.tokens) if pinned else -len(segment.tokens)

    def make_room(self, n_new: int, turn: int, n_events: int = 0) -> list[Range]:
        """Evict so that `n_new` more tokens fit; the open turn is `turn` (rules 4 to 7).

        `n_events`: of these, the tokens of an event. Returns the ranges that must leave the cache,
        none when there is room enough.
        """
        n_left = self.n_tokens + n_new
        if n_left <= self.window:
            return []
        gone: list[Segment] = []
        for group in self._evictable(turn, n_events):
            if n_left <= self.window:
                break
            gone += group
            n_left -= _n_tokens(group)
        if not gone:
            return []
        gone += self.orphans(gone)
        self.n_evicted += _n_tokens(gone)
        return self.drop(gone)

    def _evictable(self, turn: int, n_events: int) -> list[list[Segment]]:
        """Past turns and the single events of the open turn, in the order in which they go."""
        turns: dict[int, list[Segment]] = {}
        events: list[list[Segment]] = []
        for segment in self.segments:
            if segment.pinned:
                continue
            if segment.turn != turn:
                turns.setdefault(segment.turn, []).append(segment)
            elif segment.kind is Kind.EVENT:
                events.append([segment])
        happened = [group for group in events if not group[0].utterance]
        ages = [(len(events) + turn - number, group) for number, group in turns.items()]
        ages += [(len(events) - i, event) for i, event in enumerate(events)]
        # sorted() is stable: of two that are equally old, the first goes first.
        order = [group for _, group in sorted(ages, key=lambda a: -weighted(a[0], _worth(a[1])))]
        n_over = n_events + sum(map(_n_tokens, happened))
        n_over -= int(EVENTS_SHARE * (self.window - self.n_pinned))
        return _first_of(order, happened, n_over)

    def orphans(self, gone: Iterable[Segment] = ()) -> list[Segment]:
        """Return the opener that has to go with the turns before it (rule 7), if there is one."""
        if not self.joined:
            return []
        dropped = {id(s) for s in gone}
        rest = [s for s in self.segments if s.kind is not Kind.PERSONA and id(s) not in dropped]
        return rest[:1] if rest and rest[0].kind is Kind.OPEN else []

    def needs_renumbering(self, n_new: int) -> bool:
        """Whether what is pending and `n_new` more would pass the last position (rule 8)."""
        return self.next_pos + self.n_pending + n_new > self.n_pos

    @property
    def n_holes(self) -> int:
        """Positions that evictions have left unused."""
        return self.next_pos - self.n_cells

    @property
    def wants_renumbering(self) -> bool:
        """Whether positions run short, and closing the holes would win a good part of them back."""
        return self.next_pos >= self.renumber_at and self.n_holes >= self.window // 8

    def close_holes(self) -> list[Move]:
        """Number the cached tokens from 0 on; returns which of them move, first to last (rule 8).

        Carried out in this order, no two cells ever have one position.
        """
        moves: list[Move] = []
        position = 0
        for segment in self.segments:
            by = position - segment.start
            if segment.n_cached and by:
                if moves and moves[-1][1:] == (segment.start, by):
                    moves[-1] = (moves[-1][0], segment.end, by)
                else:
                    moves.append((segment.start, segment.end, by))
                segment.start = position
            position += segment.n_cached
        return moves

    @property
    def first_hole(self) -> int:
        """The position up to which all is cached without a gap."""
        position = 0
        for segment in self.segments:
            if segment.n_cached and segment.start != position:
                break
            position += segment.n_cached
        return position

    def uncache(self, first: int, tail: int = 0) -> None:
        """Make every token from position `first` on pending again: it is in the cache no more.

        `tail`: the next position where that is not the end of the last cached token: a recurrent
        state counts what it has read, also what has left since.
        """
        self.tail = 0
        for segment in self.segments:
            if segment.n_cached:
                n_keep = min(segment.n_cached, max(0, first - segment.start))
                self.n_cells -= segment.n_cached - n_keep
                segment.n_cached = n_keep
        self.tail = tail if tail > self.next_pos else 0

    def recache(self, cells: list[Cells], next_pos: int) -> list[Range]:
        """Undo `uncache(0)`: the cache holds `cells` again, and `next_pos` is what it was then.

        Returns what has left the ledger since, or stands behind something new (rule 1): it must
        leave the cache.
        """
        was = {id(segment): (start, tokens) for segment, start, tokens in cells}
        gone = []
        complete = True
        for segment in self.segments:
            start, tokens = was.pop(id(segment), (0, []))
            n = n_common(tokens, segment.tokens) if complete else 0
            segment.start, segment.n_cached = start, n
            self.n_cells += n
            complete = complete and n == len(segment.tokens)
            gone.append((start + n, start + len(tokens)))
        gone += [(start, start + len(tokens)) for start, tokens in was.values()]
        self.tail = next_pos if next_pos > self.next_pos else 0
        return _merge([(first, last) for first, last in gone if first < last])


def weighted(age: int, importance: float) -> float:
    """Return how old something counts that is `age` things old."""
    return float(age * IMPORTANCE ** (0.5 - importance))


def oldest(importances: Sequence[float]) -> int:
    """Return which of several things that came one after the other is the first to leave."""
    n = len(importances)
    return max(range(n), key=lambda i: weighted(n - i, importances[i]))


def _worth(segments: list[Segment]) -> float:
    """The importance of a turn: of its events the greatest; words alone have 0.5."""
    return max((s.importance for s in segments if s.kind is Kind.EVENT), default=0.5)


def _n_tokens(segments: list[Segment]) -> int:
    return sum(len(s.tokens) for s in segments)


def _first_of(
    order: list[list[Segment]], events: list[list[Segment]], n_over: int
) -> list[list[Segment]]:
    """The order with as many events first as have `n_over` tokens."""
    names = {id(event) for event in events}
    first: list[list[Segment]] = []
    for group in order:
        if n_over <= 0:
            break
        if id(group) in names:
            first.append(group)
            n_over -= _n_tokens(group)
    gone = {id(event) for event in first}
    return first + [group for group in order if id(group) not in gone]


def _merge(ranges: list[Range]) -> list[Range]:
    """Join ranges that touch, so that the cache is asked as seldom as possible."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and merged[-1][1] >= first:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged
