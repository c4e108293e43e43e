"""How an endless text is kept in a window of the KV cache: the policies of `bench stream`.

Owns what leaves the cache and what moves before more is read, for each policy. Pure arithmetic:
it decodes nothing and measures nothing. Counts are in tokens; the text is a list of tokens.

    whole     all tokens stay, until there is no room (full attention)
    rolling   k sinks and the last tokens, moved together: positions count within the cache
              (StreamingLLM, arXiv 2309.17453)
    reread    the cache is cleared, and the last tokens are read again
    pinned    the engine's own `ledger`: a pinned beginning, whole turns evicted, holes left
"""

from dataclasses import dataclass, field

from npc_engine.kvcache.ledger import Kind, Ledger, Move, Range, Segment

__all__ = ["Pinned", "Plan", "Reread", "Rolling", "Room", "Whole"]


@dataclass(frozen=True)
class Room:
    """What to do before more is read: cells to remove, then cells to move.

    `reread`: tokens to read again into a cleared cache, from position 0 on, instead of both.
    """

    remove: list[Range] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    reread: list[int] | None = None


class _Gapless:
    """Tokens held at positions without holes."""

    n_cells = next_pos = 0

    def add(self, tokens: list[int]) -> None:
        """Note tokens."""
        self.n_cells += len(tokens)
        self.next_pos += len(tokens)


class Whole(_Gapless):
    """Full attention in `n_max` cells."""

    def __init__(self, n_max: int) -> None:
        self.n_max = n_max

    def make_room(self, n_new: int) -> Room | None:
        """Nothing ever leaves."""
        return Room() if self.n_cells + n_new <= self.n_max else None


class Rolling(_Gapless):
    """`n_sinks` first tokens and the last ones, `window` in all, at positions without holes."""

    def __init__(self, window: int, n_sinks: int) -> None:
        self.window = window
        self.n_sinks = n_sinks

    def make_room(self, n_new: int) -> Room:
        """The oldest behind the sinks leave, and the rest moves down."""
        n_out = self.n_cells + n_new - self.window
        if n_out <= 0:
            return Room()
        first, last, end = self.n_sinks, self.n_sinks + n_out, self.n_cells
        self.n_cells = self.next_pos = end - n_out
        return Room([(first, last)], [(last, end, -n_out)] if last < end else [])


class Reread(_Gapless):
    """The last tokens, `window` with the new ones, read anew each time."""

    def __init__(self, window: int) -> None:
        self.window = window
        self._last: list[int] = []

    def make_room(self, n_new: int) -> Room:
        """All leave, and the last ones come again."""
        reread = self._last[max(0, len(self._last) + n_new - self.window) :]
        self.n_cells = self.next_pos = len(reread)
        return Room(reread=reread)

    def add(self, tokens: list[int]) -> None:
        """Note tokens, in the cache or skipped."""
        self._last = (self._last + tokens)[-self.window :]
        super().add(tokens)


class Pinned:
    """What the engine does with a character: its ledger, over turns of `n_turn` tokens.

    `n_pinned` first tokens are the persona. Holes are closed when the ledger wants it, as in a
    pause: by moving the cells where that is exact (`shifts`), else by reading them again.
    """

    def __init__(self, window: int, n_pos: int, n_pinned: int, n_turn: int, shifts: bool) -> None:
        self.ledger = Ledger(window, n_pos)
        self.n_renumbered = 0
        self._n_pinned = n_pinned
        self._n_turn = n_turn
        self._turn = 0
        self._shifts = shifts

    @property
    def n_cells(self) -> int:
        """Tokens held."""
        return self.ledger.n_cells

    @property
    def next_pos(self) -> int:
        """The next token's position."""
        return self.ledger.next_pos

    def make_room(self, n_new: int) -> Room:
        """Past turns leave, and leave holes; now and then the holes are closed."""
        remove = self.ledger.make_room(n_new, self._turn)
        if not (self.ledger.wants_renumbering or self.ledger.needs_renumbering(n_new)):
            return Room(remove)
        self.n_renumbered += 1
        moves = self.ledger.close_holes()
        return Room(remove, moves) if self._shifts else Room(reread=self.ledger.tokens())

    def add(self, tokens: list[int]) -> None:
        """Note tokens: of the persona while it is not whole, then turn by turn."""
        while tokens:
            segment = self._open()
            room = (self._n_pinned if segment.pinned else self._n_turn) - len(segment.tokens)
            for token in tokens[:room]:
                self.ledger.append_token(token)
            self.ledger.commit(len(tokens[:room]))
            tokens = tokens[room:]

    def _open(self) -> Segment:
        """The segment that grows now."""
        segments = self.ledger.segments
        if not segments and self._n_pinned:
            self.ledger.append(Segment(Kind.PERSONA, [], pinned=True))
        full = self._n_pinned if segments and segments[-1].pinned else self._n_turn
        if not segments or len(segments[-1].tokens) >= full:
            self._turn += 1
            self.ledger.append(Segment(Kind.SAID, [], turn=self._turn))
        return segments[-1]


Plan = Whole | Rolling | Reread | Pinned
"""A policy at work. `add` notes what is read now, from `next_pos` on; `make_room` makes room for
more before that, and returns None where that cannot be."""
