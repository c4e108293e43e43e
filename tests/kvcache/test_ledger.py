"""The ledger against a naive model: a list of segments, and a dict of cells by position."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from npc_engine.kvcache.ledger import Kind, Ledger, Range, Segment

N_POS = 400


@dataclass
class Naive:
    """A segment as the model sees it: each token with the position it is cached at, or None."""

    segment: Segment
    kind: Kind
    turn: int
    pinned: bool
    tokens: list[int]
    places: list[int | None] = field(default_factory=list)


def worth(segments: list[Naive]) -> float:
    """A turn's importance is that of its events; words alone are ordinary."""
    return max([s.segment.importance for s in segments if s.kind is Kind.EVENT] or [0.5])


def index(segments: list[Naive], segment: Naive) -> int:
    return next(i for i, s in enumerate(segments) if s is segment)


def oldest(ages: list[tuple[int, float, int]]) -> int:
    """Of (age, importance, name), the name of the one that goes first: a trivial one counts as four
    times as old, a most important one as a quarter as old; at a tie the first.
    """
    counted = [(age * 4 ** (1 - 2 * importance), name) for age, importance, name in ages]
    most = max(age for age, _ in counted)
    return next(name for age, name in counted if age == most)


def survivors(
    told: list[Naive], ledger: Ledger, n_new: int, turn: int, n_events: int = 0
) -> list[Naive]:
    """Rules 4 to 7, written down as plainly as can be."""

    def n_tokens(segments: list[Naive]) -> int:
        return sum(len(s.tokens) for s in segments)

    n_all = [s for s in told if not s.pinned and s.turn == turn and s.kind is Kind.EVENT]
    share = int(0.4 * (ledger.window - n_tokens([s for s in told if s.pinned])))
    left = list(told)
    while n_tokens(left) + n_new > ledger.window:
        loose = [s for s in left if not s.pinned]
        events = [s for s in n_all if any(s is one for one in left)]
        groups = {s.turn: [t for t in loose if t.turn == s.turn] for s in loose if s.turn != turn}
        past = list(groups.values())
        happened = [s for s in events if not s.segment.utterance]
        if happened and n_tokens(happened) + n_events > share:
            past, events = [], happened
        ages = [(len(n_all) + turn - t[0].turn, worth(t), i) for i, t in enumerate(past)]
        ages += [
            (len(n_all) - index(n_all, s), s.segment.importance, i)
            for i, s in enumerate(events, len(past))
        ]
        if not ages:
            break
        gone = [*past, *([s] for s in events)][oldest(ages)]
        left = [s for s in left if not any(s is g for g in gone)]
    rest = [s for s in left if s.kind is not Kind.PERSONA]
    if ledger.joined and len(left) < len(told) and rest and rest[0].kind is Kind.OPEN:
        left.remove(rest[0])
    return left


class LedgerMachine(RuleBasedStateMachine):
    """Every operation in any order; the cache is told only what the ledger returns."""

    @initialize(
        n_pinned=st.lists(st.integers(0, 30), min_size=1, max_size=3),
        window=st.integers(60, 200),
        joined=st.booleans(),
    )
    def begin(self, n_pinned: list[int], window: int, joined: bool) -> None:
        self.ledger = Ledger(window, N_POS, joined=joined)
        self.told: list[Naive] = []
        self.cache: dict[int, int] = {}
        self.next_token = itertools.count(1000)
        self.turn = 1
        self.n_evicted = 0
        for n in n_pinned:
            self._append(Kind.PERSONA, n, 0, pinned=True)

    def _append(
        self,
        kind: Kind,
        n: int,
        turn: int,
        pinned: bool = False,
        importance: float = 0.5,
        utterance: int = 0,
    ) -> None:
        tokens = list(itertools.islice(self.next_token, n))
        segment = Segment(kind, list(tokens), "", turn, pinned, importance, utterance=utterance)
        self.ledger.append(segment)
        self.told.append(Naive(segment, kind, turn, pinned, tokens, [None] * n))

    def _forget(self, ranges: list[Range]) -> None:
        """What the cache does with the ranges; they must name cells that are there."""
        for first, last in ranges:
            assert first < last
            for position in range(first, last):
                del self.cache[position]

    @rule(
        kind=st.sampled_from(sorted(set(Kind) - {Kind.PERSONA})),
        n=st.integers(0, 40),
        importance=st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75, 1.0]),
        utterance=st.sampled_from([0, 0, 7]),
    )
    def append(self, kind: Kind, n: int, importance: float, utterance: int) -> None:
        self._append(kind, n, self.turn, importance=importance, utterance=utterance)

    @rule(turn=st.integers(1, 9), pinned=st.booleans())
    def pin(self, turn: int, pinned: bool) -> None:
        """A turn is kept from now on, or may leave again."""
        chosen = [s for s in self.told if s.turn == turn]
        self.ledger.pin([s.segment for s in chosen], pinned)
        for s in chosen:
            s.pinned = pinned

    @rule()
    def close_holes(self) -> None:
        """The cache carries out the moves in their order; no cell may fall upon another."""
        for first, last, by in self.ledger.close_holes():
            assert by < 0
            moved = {p: self.cache.pop(p) for p in range(first, last)}
            assert not self.cache.keys() & {p + by for p in moved}
            self.cache.update({p + by: token for p, token in moved.items()})
        assert sorted(self.cache) == list(range(len(self.cache)))
        places = iter(range(len(self.cache)))
        for s in self.told:
            s.places = [None if place is None else next(places) for place in s.places]
        assert self.ledger.n_holes == 0

    @rule()
    def next_turn(self) -> None:
        self.turn += 1

    @rule()
    def append_token(self) -> None:
        token = next(self.next_token)
        self.ledger.append_token(token)
        self.told[-1].tokens.append(token)
        self.told[-1].places.append(None)

    @rule(limit=st.integers(0, 50))
    def read(self, limit: int) -> None:
        """What `pending` says is decoded, from `next_pos` on."""
        waiting = [(s, i) for s in self.told for i, place in enumerate(s.places) if place is None][
            :limit
        ]
        tokens = self.ledger.pending(limit)
        assert tokens == [s.tokens[i] for s, i in waiting]
        position = self.ledger.next_pos
        for (s, i), token in zip(waiting, tokens, strict=True):
            assert position not in self.cache
            self.cache[position] = token
            s.places[i] = position
            position += 1
        self.ledger.commit(len(tokens))

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        loose = [s for s in self.told if not s.pinned]
        gone = data.draw(st.lists(st.sampled_from(loose), unique_by=id)) if loose else []
        self._forget(self.ledger.drop([s.segment for s in gone]))
        self.told = [s for s in self.told if not any(s is g for g in gone)]

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """The last segment mostly, but any one may be cut: that leaves a hole."""
        loose = [s for s in self.told if s.kind is not Kind.PERSONA]
        if not loose:
            return
        s = data.draw(st.sampled_from([loose[-1], *loose]))
        n_keep = data.draw(st.integers(0, len(s.tokens) + 2))
        self._forget(self.ledger.cut(s.segment, n_keep))
        del s.tokens[n_keep:], s.places[n_keep:]

    @rule(n_new=st.integers(0, 120), back=st.integers(0, 2), is_event=st.booleans())
    def make_room(self, n_new: int, back: int, is_event: bool) -> None:
        turn, n_events = self.turn - back, n_new if is_event else 0
        expected = survivors(self.told, self.ledger, n_new, turn, n_events)
        gone = [s for s in self.told if not any(s is e for e in expected)]
        self.n_evicted += sum(len(s.tokens) for s in gone)
        self._forget(self.ledger.make_room(n_new, turn, n_events))
        self.told = expected
        if self.ledger.n_tokens + n_new > self.ledger.window:
            assert all(
                s.pinned or (s.turn == turn and s.kind is not Kind.EVENT) for s in self.told
            ), "something could still have left"

    @rule(first=st.integers(0, 300))
    def uncache(self, first: int) -> None:
        self.ledger.uncache(first)
        self.cache = {p: t for p, t in self.cache.items() if p < first}
        for s in self.told:
            s.places = [p if p is not None and p < first else None for p in s.places]

    @invariant()
    def the_first_hole(self) -> None:
        n = next(n for n in itertools.count() if n not in self.cache)
        assert self.ledger.first_hole == n

    @invariant()
    def same_segments(self) -> None:
        assert [id(s) for s in self.ledger.segments] == [id(s.segment) for s in self.told]
        assert [s.tokens for s in self.ledger.segments] == [s.tokens for s in self.told]
        assert self.ledger.tokens() == [token for s in self.told for token in s.tokens]

    @invariant()
    def true_counts(self) -> None:
        ledger = self.ledger
        assert ledger.n_tokens == sum(len(s.tokens) for s in self.told)
        assert ledger.n_pinned == sum(len(s.tokens) for s in self.told if s.pinned)
        assert ledger.n_cells == len(self.cache)
        assert ledger.n_pending == ledger.n_tokens - len(self.cache)
        assert ledger.n_evicted == self.n_evicted

    @invariant()
    def cache_is_mirrored(self) -> None:
        cells = [
            (segment.start + i, segment.tokens[i])
            for segment in self.ledger.segments
            for i in range(segment.n_cached)
        ]
        assert dict(cells) == self.cache
        positions = [position for position, _ in cells]
        assert positions == sorted(set(positions)), "positions do not rise"
        assert self.ledger.next_pos == max(self.cache, default=-1) + 1, "the tail has a gap"

    @invariant()
    def cached_is_a_beginning(self) -> None:
        places = [place for s in self.told for place in s.places]
        n_cells = self.ledger.n_cells
        assert None not in places[:n_cells]
        assert places[n_cells:] == [None] * len(places[n_cells:])


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# -- the rules, one by one ---------------------------------------------------------------------


def make(*sizes: tuple[Kind, int, int], window: int = 100, joined: bool = False) -> Ledger:
    """A ledger of (kind, turn, n tokens) behind ten pinned tokens, all of it cached."""
    ledger = Ledger(window, N_POS, joined=joined)
    ledger.append(Segment(Kind.PERSONA, list(range(10)), pinned=True))
    for kind, turn, n in sizes:
        ledger.append(Segment(kind, [turn] * n, turn=turn))
    ledger.commit(ledger.n_tokens)
    return ledger


def kinds(ledger: Ledger) -> list[tuple[Kind, int]]:
    return [(s.kind, s.turn) for s in ledger.segments]


def test_nothing_leaves_while_there_is_room() -> None:
    ledger = make((Kind.SAID, 1, 40), (Kind.SAID, 2, 40))
    assert ledger.make_room(10, 3) == []
    assert ledger.make_room(11, 3) == [(10, 50)]


def test_whole_turns_leave_oldest_first_and_no_more_than_must() -> None:
    turns = [(kind, turn, 10) for turn in (1, 2, 3, 4) for kind in (Kind.SAID, Kind.REPLY)]
    ledger = make(*turns)
    assert ledger.make_room(11, 4) == [(10, 30)], "one range for what touches"
    assert ledger.make_room(31, 4) == [(30, 50)]
    assert [s.turn for s in ledger.segments] == [0, 3, 3, 4, 4]
    assert ledger.n_evicted == 40


def test_the_next_position_never_falls_into_a_hole() -> None:
    ledger = make((Kind.SAID, 1, 30), (Kind.SAID, 2, 30))
    ledger.drop([ledger.segments[1]])
    assert ledger.next_pos == 70
    ledger.append(Segment(Kind.SAID, [3, 3]))
    ledger.commit(2)
    assert (ledger.segments[-1].start, ledger.next_pos) == (70, 72)


def test_positions_at_the_tail_are_used_again() -> None:
    ledger = make((Kind.SAID, 1, 30), (Kind.SAID, 2, 30))
    assert ledger.drop([ledger.segments[2]]) == [(40, 70)]
    assert ledger.next_pos == 40


def test_a_segment_cached_in_part_leaves_with_its_cells_alone() -> None:
    ledger = make((Kind.SAID, 1, 20))
    half = Segment(Kind.SAID, list(range(20)), turn=2)
    ledger.append(half)
    ledger.commit(5)
    ledger.append(Segment(Kind.CLOSE, [7], turn=2))
    assert ledger.drop([half]) == [(30, 35)]
    assert (ledger.n_cells, ledger.n_tokens, ledger.next_pos) == (30, 31, 30)
    assert ledger.pending(9) == [7]


def test_of_the_open_turn_only_events_leave() -> None:
    ledger = make((Kind.REPLY, 1, 10), (Kind.OPEN, 2, 5), (Kind.EVENT, 2, 30), (Kind.SAID, 2, 30))
    ledger.make_room(40, 2)
    assert kinds(ledger)[1:] == [(Kind.OPEN, 2), (Kind.SAID, 2)]
    assert ledger.make_room(400, 2) == []


@pytest.mark.parametrize("joined", [False, True])
def test_the_first_turn_that_remains_has_an_opener_unless_the_beginning_has_it(
    joined: bool,
) -> None:
    ledger = make(
        (Kind.SAID, 1, 40), (Kind.OPEN, 2, 3), (Kind.SAID, 2, 30), (Kind.OPEN, 3, 3), joined=joined
    )
    ledger.make_room(20, 3)
    opener = [] if joined else [(Kind.OPEN, 2)]
    assert kinds(ledger)[1:] == [*opener, (Kind.SAID, 2), (Kind.OPEN, 3)]


def test_who_wants_an_opener() -> None:
    assert make().wants_opener
    assert not make(joined=True).wants_opener
    assert make((Kind.SAID, 1, 1), joined=True).wants_opener


def test_empty_segments_hide_nothing_that_is_pending() -> None:
    ledger = make((Kind.SAID, 1, 4))
    for tokens in ([1, 2], [], [3], []):
        ledger.append(Segment(Kind.NOTE, tokens))
    assert ledger.pending(9) == [1, 2, 3]
    ledger.commit(1)
    assert ledger.pending(9) == [2, 3]
    ledger.commit(2)
    assert ledger.pending(9) == []
    assert ledger.next_pos == ledger.n_cells == 17


def test_cutting_behind_the_end_changes_nothing() -> None:
    ledger = make((Kind.SAID, 1, 4))
    assert ledger.cut(ledger.segments[-1], 9) == []
    assert (ledger.n_tokens, ledger.n_cells) == (14, 14)


def test_renumbering_is_due_when_the_last_position_would_be_passed() -> None:
    ledger = make((Kind.SAID, 1, 80), window=1000)
    assert not ledger.needs_renumbering(N_POS - 90)
    assert ledger.needs_renumbering(N_POS - 89)
    ledger.append(Segment(Kind.SAID, [1] * 10))
    assert not ledger.needs_renumbering(N_POS - 100), "pending tokens need positions too"
    assert ledger.needs_renumbering(N_POS - 99)


def test_a_forgotten_cache_is_read_again_from_position_0() -> None:
    ledger = make((Kind.SAID, 1, 30), (Kind.SAID, 2, 30))
    ledger.drop([ledger.segments[1]])
    ledger.uncache(0)
    assert (ledger.next_pos, ledger.n_cells) == (0, 0)
    assert ledger.pending(99) == ledger.tokens()
    ledger.commit(40)
    assert [(s.start, s.end) for s in ledger.segments] == [(0, 10), (10, 40)]


def test_reading_goes_on_where_a_recurrent_state_says() -> None:
    ledger = make((Kind.SAID, 1, 30), (Kind.SAID, 2, 30))
    ledger.drop([ledger.segments[1]])
    ledger.uncache(40, tail=40)
    assert (ledger.next_pos, ledger.n_cells) == (40, 10)
    ledger.commit(5)
    assert (ledger.segments[-1].start, ledger.next_pos) == (40, 45)
    ledger.uncache(0)
    assert ledger.next_pos == 0


def test_renumbering_is_wanted_where_it_wins_positions() -> None:
    """75 % of the positions are used, and an eighth of a window of holes can be closed."""
    # 80 tokens at positions 0 to 79, window 100
    ledger = make((Kind.SAID, 1, 11), (Kind.SAID, 2, 1), (Kind.SAID, 3, 58))
    ledger.n_pos = 106
    assert not ledger.wants_renumbering, "there is no hole"
    ledger.drop([s for s in ledger.segments if s.turn == 1])
    assert not ledger.wants_renumbering, "11 positions are not worth it"
    ledger.drop([s for s in ledger.segments if s.turn == 2])
    assert ledger.wants_renumbering
    ledger.n_pos = 107
    assert not ledger.wants_renumbering, "more than a quarter is left"
    ledger.n_pos = 106
    assert ledger.close_holes() == [(22, 80, -12)]
    assert not ledger.wants_renumbering
    assert (ledger.next_pos, ledger.n_holes) == (68, 0)


def test_an_important_event_keeps_its_turn_longer_than_a_trivial_one() -> None:
    turns = [(kind, turn, 5) for turn in range(1, 9) for kind in (Kind.EVENT, Kind.REPLY)]
    ledger = make(*turns)
    for s in ledger.segments:
        s.importance = {1: 1.0, 3: 0.0}.get(s.turn, 0.5) if s.kind is Kind.EVENT else 0.5
    ledger.make_room(60, 9)
    assert sorted({s.turn for s in ledger.segments}) == [0, 1, 7, 8]
    ledger.make_room(90, 9)
    assert sorted({s.turn for s in ledger.segments}) == [0], "it does not stay for ever"


def test_a_trivial_event_lets_its_turn_go_before_older_words() -> None:
    ledger = make(*[(kind, turn, 5) for turn in range(1, 9) for kind in (Kind.EVENT, Kind.REPLY)])
    for s in ledger.segments:
        if s.kind is Kind.EVENT:
            s.importance = 0.0 if s.turn == 5 else 0.5
    ledger.make_room(30, 9)
    assert sorted({s.turn for s in ledger.segments}) == [0, 2, 3, 4, 6, 7, 8]


def test_unread_events_and_turns_leave_in_one_order() -> None:
    """An event is as old as what came after it, and a turn is older than all that came since."""
    left = []
    for n_gone in range(1, 13):
        ledger = make(*[(Kind.SAID, turn, 5) for turn in (1, 2)], *[(Kind.EVENT, 3, 5)] * 10)
        for s in ledger.segments[3:]:
            s.importance = 0.0
        ledger.make_room(ledger.window - ledger.n_tokens + 5 * n_gone, 3)
        left.append(sorted({1, 2} & {s.turn for s in ledger.segments}))
    assert left == [[1, 2]] * 7 + [[2]] * 2 + [[]] * 3, "40, 36 ... 16, then 12 and 11"


def test_a_flood_of_events_has_its_share_of_the_past_and_no_more() -> None:
    """40 % of the 90 tokens beside what is pinned are 36."""
    for n_new, n_events, left in (
        (5, 5, [1, 2, *[3] * 7]),  # there is room
        (30, 5, [1, 2, *[3] * 6]),
        (30, 0, [2, *[3] * 7]),  # for a line: the events are within their share
    ):
        ledger = make((Kind.SAID, 1, 15), (Kind.SAID, 2, 15), *[(Kind.EVENT, 3, 5)] * 7)
        ledger.make_room(n_new, 3, n_events)
        assert [s.turn for s in ledger.segments[1:]] == left


def test_talk_that_was_heard_is_no_flood() -> None:
    """It leaves by its age, and takes nothing of what events may have."""
    ledger = make((Kind.SAID, 1, 15), (Kind.SAID, 2, 15), *[(Kind.EVENT, 3, 5)] * 10)
    for s in ledger.segments[3:11]:
        s.utterance = 7
    ledger.make_room(25, 3)
    assert [(s.turn, s.utterance) for s in ledger.segments[1:]] == [
        *[(2, 0)], *[(3, 7)] * 8, *[(3, 0)] * 2
    ]  # fmt: skip


def test_trivial_events_of_the_open_turn_leave_first() -> None:
    ledger = make(*[(Kind.EVENT, 1, 15)] * 5)
    for s, importance in zip(ledger.segments[1:], (0.9, 0.5, 0.1, 0.5, 0.5), strict=True):
        s.importance = importance
    ledger.make_room(40, 1)
    assert [s.importance for s in ledger.segments[1:]] == [0.9, 0.5, 0.5]


def test_pins_stay_where_they_are_until_they_are_pins_no_more() -> None:
    ledger = make(*[(Kind.SAID, turn, 20) for turn in (1, 2, 3, 4)])
    pinned = [s for s in ledger.segments if s.turn == 1]
    ledger.pin(pinned, True)
    ledger.pin(pinned, True)
    assert ledger.n_pinned == 30
    assert ledger.make_room(50, 5) == [(30, 70)]
    assert [s.turn for s in ledger.segments] == [0, 1, 4]
    ledger.pin(pinned, False)
    assert ledger.n_pinned == 10
    ledger.make_room(70, 5)
    assert [s.turn for s in ledger.segments] == [0, 4]
