"""Slots are lent, never lost; who is needed keeps its slot unless somebody more urgent comes."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from npc_engine.kvcache.ledger import Kind, Ledger, Segment
from npc_engine.kvcache.parking import Parking
from npc_engine.kvcache.sequence import Sequence
from npc_engine.scheduling.batching import PATIENCE, Claim, Priority, schedule
from npc_engine.scheduling.slots import Slots
from tests.support.fake_llama import FakeLlama

PLAYER, NEAR, AMBIENT, IDLE = Priority


def claim(
    cache: FakeLlama, priority: Priority, order: int = 0, n: int = 5, kind: Kind = Kind.SAID
) -> Claim:
    sequence = Sequence(Ledger(10_000, 10_000), cache)
    sequence.append(Segment(kind, [65] * n))
    return Claim(f"{priority.name}-{order}", sequence, priority, order)


def read(cache: FakeLlama, claim: Claim, n: int = 1000) -> None:
    sequence = claim.sequence
    tokens = sequence.ledger.pending(n)
    if tokens:
        cache.decode([(sequence.slot, sequence.ledger.next_pos, tokens, False)])
        sequence.ledger.commit(len(tokens))


def test_the_most_urgent_get_a_slot_first() -> None:
    cache = FakeLlama(n_slots=2)
    idle, ambient, near, player = (
        claim(cache, p, order) for order, p in enumerate([IDLE, AMBIENT, NEAR, PLAYER])
    )
    assert Slots(2).assign([idle, ambient, near, player]) == [player, near]
    assert (ambient.sequence.slot, idle.sequence.slot) == (None, None)


def test_the_least_recently_used_is_parked() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    a, b, c = (claim(cache, NEAR, order) for order in range(3))
    slots.assign([a, b])
    read(cache, a)
    read(cache, b)
    slots.assign([a])  # so b was used longer ago
    assert slots.assign([c]) == [c]
    assert (a.sequence.slot is None, b.sequence.slot) == (False, None)
    assert b.sequence.parked is not None
    assert a.sequence.parked is None


def test_idle_reading_sends_nobody_out() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    resident, idle = claim(cache, NEAR), claim(cache, IDLE)
    slots.assign([resident])
    assert slots.assign([idle]) == []
    assert resident.sequence.slot == 0
    slots.leave(resident.sequence)
    assert slots.assign([idle]) == [idle]


def test_idle_reading_gives_way_to_whoever_is_needed() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    idle, ambient = claim(cache, IDLE), claim(cache, AMBIENT)
    slots.assign([idle])
    assert slots.assign([idle, ambient]) == [ambient]


def test_who_is_needed_is_not_parked_for_its_equals() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    first, second = claim(cache, NEAR, 1), claim(cache, NEAR, 2)
    assert slots.assign([first]) == [first]
    assert slots.assign([second, first]) == [first]
    assert second.n_skipped == 1


def test_a_player_takes_the_slot_of_ambient_speech_at_once() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    speech = [claim(cache, AMBIENT, order) for order in range(2)]
    for c in slots.assign(speech):
        read(cache, c)
        c.speaking = True
        c.sequence.ledger.append_token(66)
    player = claim(cache, PLAYER, 9)
    assert slots.assign([*speech, player]) == [player, speech[0]]
    read(cache, player)
    assert slots.assign(speech) == speech, "it goes on where it was"
    assert cache.held(speech[1].sequence.slot or 0) == [65] * 5
    assert speech[1].is_row


def test_nobody_loses_a_slot_amid_a_line_to_an_equal() -> None:
    """However long the other waits: they would swap at every step."""
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    speaker, waiting = claim(cache, AMBIENT, 1), claim(cache, AMBIENT, 0)
    slots.assign([speaker])
    read(cache, speaker)
    speaker.speaking = True
    for _ in range(10 * PATIENCE):
        speaker.sequence.ledger.append_token(66)
        assert slots.assign([speaker, waiting]) == [speaker]
        read(cache, speaker)
    speaker.speaking = False
    assert slots.assign([waiting]) == [waiting]


def called(claim: Claim, arrival: int) -> Claim:
    claim.called, claim.expected = True, arrival
    return claim


def test_who_is_called_takes_the_place_of_the_least_recently_used() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    a, b = claim(cache, NEAR, 1), claim(cache, NEAR, 2)
    for c in slots.assign([a, b]):
        read(cache, c)
        c.priority = IDLE
    c = called(claim(cache, IDLE), 3)
    assert slots.assign([c]) == [c]
    assert (a.sequence.slot, b.sequence.slot, c.called) == (None, 1, False)
    called(b, 4)
    assert slots.assign([b]) == [b], "it sits already: that counts as use"
    assert slots.assign([called(a, 5)]) == [a]
    assert (b.sequence.slot, c.sequence.slot) == (1, None)
    assert cache.held(a.sequence.slot or 0) == [65] * 5


def test_who_is_called_sends_out_nobody_who_is_needed() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    speaker, waiting = claim(cache, AMBIENT, 1), called(claim(cache, IDLE), 2)
    assert slots.assign([speaker, waiting]) == [speaker]
    assert (waiting.called, waiting.n_skipped) == (True, 0)
    read(cache, speaker)
    speaker.priority = IDLE  # it has finished
    assert slots.assign([waiting]) == [waiting]


def test_two_who_are_called_do_not_swap_places() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    early, late = called(claim(cache, IDLE), 1), called(claim(cache, IDLE), 2)
    for _ in range(5):
        assert slots.assign([early, late]) == [late]
    spoken_since = claim(cache, NEAR, 3)
    assert slots.assign([early, spoken_since]) == [spoken_since]
    read(cache, spoken_since)
    spoken_since.priority = IDLE
    assert slots.assign([early]) == [], "somebody was spoken to since"


# -- personas beyond the slots (rule 5) --------------------------------------------------------


def unread(cache: FakeLlama, n: int = 1) -> list[Claim]:
    """Characters who were never spoken to, in the order of spawn."""
    return [claim(cache, IDLE, kind=Kind.PERSONA) for _ in range(n)]


def rest(cache: FakeLlama, slots: Slots, claims: list[Claim], limit: int = 200) -> list[Claim]:
    """Step until nobody sits who wants to read; return who was read, in that order."""
    order: list[Claim] = []
    for _ in range(limit):
        residents = slots.assign([c for c in claims if c.sequence.n_pending or c.called])
        if not any(c.sequence.n_pending for c in residents):
            return order
        order += [c for c in residents if c not in order]
        for c in residents:
            read(cache, c, 3)
    raise AssertionError("idle reading does not end")


def slots_of(claims: list[Claim]) -> str:
    """R for resident, p for parked, - for never read."""
    sequences = [c.sequence for c in claims]
    return "".join("R" if s.slot is not None else "p" if s.copy else "-" for s in sequences)


def test_every_persona_is_read_once_and_who_came_first_stays() -> None:
    cache = FakeLlama(n_slots=3)
    slots = Slots(3)
    claims = unread(cache, 8)
    assert rest(cache, slots, claims) == claims
    assert slots_of(claims) == "RRppppp" + "R"
    assert not any(c.sequence.n_pending for c in claims)
    assert (slots.parks.n, slots.call_ins.n) == (5, 0)
    assert rest(cache, slots, claims) == []
    assert (slots.parks.n, slots.call_ins.n) == (5, 0), "and then it rests"


def test_reading_ahead_is_no_use_of_a_slot() -> None:
    """Whoever was spoken to is the last to go out for a player, whatever was read since."""
    cache = FakeLlama(n_slots=3)
    slots = Slots(3)
    first, second, *claims = [claim(cache, NEAR, i) for i in (1, 2)] + unread(cache, 5)
    for c in (first, second):
        slots.assign([c])
        read(cache, c)
        c.priority = IDLE
    rest(cache, slots, claims)
    assert slots_of([first, second, *claims]) == "RR" + "ppppR"
    claims[0].priority, claims[0].order = PLAYER, 3
    claims[0].sequence.ledger.append_token(66)
    assert slots.assign([claims[0]]) == [claims[0]]
    assert slots_of([first, second, *claims]) == "RR" + "Rpppp", "the newly read one went out"
    read(cache, claims[0])
    claims[0].priority = IDLE
    rest(cache, slots, unread(cache))
    assert slots_of([first, second, claims[0]]) == "pRR", "used least recently"


def test_the_order_of_use_outlives_parking() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    spoken, other = claim(cache, NEAR, 1), claim(cache, NEAR, 2)
    never = unread(cache)[0]
    for c in (spoken, other):
        slots.assign([c])
        read(cache, c)
        c.priority = IDLE
    rest(cache, slots, [never])
    assert slots_of([spoken, other, never]) == "pRR"
    slots.leave(other.sequence)
    spoken.sequence.ledger.append_token(66)  # an event, which is read in the free slot
    assert rest(cache, slots, [spoken]) == [spoken]
    player = claim(cache, PLAYER, 3)
    slots.assign([player])
    assert slots_of([spoken, never]) == "Rp"


def test_one_at_a_time_and_only_when_all_residents_are_read() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    claims = unread(cache, 6)
    assert slots.assign(claims) == claims[:2]
    for c in claims[:2]:
        read(cache, c, 3)
        assert slots.assign(claims) == claims[:2], "they have something left to read"
    for c in claims[:2]:
        read(cache, c)
    assert slots.assign(claims[2:]) == [claims[2]], "a step does one move"
    assert slots.assign(claims[2:]) == [claims[2]]


def test_nobody_reads_ahead_while_somebody_is_needed() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    resident, speaker = unread(cache)[0], claim(cache, AMBIENT, 1)
    rest(cache, slots, [resident])
    idle = unread(cache)[0]
    for _ in range(3):
        assert slots.assign([speaker, idle]) == [speaker]
        read(cache, speaker)
        speaker.sequence.ledger.append_token(66)
    assert slots_of([resident, speaker, idle]) == "RR-"
    read(cache, speaker)
    assert slots.assign([idle]) == [idle]


def test_who_was_called_last_keeps_its_slot_until_it_is_spoken_to() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    attended, idle = called(unread(cache)[0], 1), unread(cache)[0]
    assert rest(cache, slots, [attended, idle]) == [attended]
    assert slots_of([attended, idle]) == "R-"
    attended.expected, attended.order = 0, 2  # spoken to, and it has answered
    assert rest(cache, slots, [idle]) == [idle]


def test_one_who_was_called_before_that_does_not() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    early, late = called(unread(cache)[0], 1), called(unread(cache)[0], 2)
    claims = [early, late, *unread(cache, 3)]
    assert rest(cache, slots, claims) == [late, early, *claims[2:]]
    assert slots_of(claims) == "pR" + "ppR"


def test_what_was_half_read_when_somebody_spoke_is_read_on() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    half = unread(cache)[0]
    slots.assign([half])
    read(cache, half, 3)
    player = claim(cache, PLAYER, 1)
    slots.assign([half, player])
    read(cache, player)
    player.priority = IDLE
    assert slots_of([half, player]) == "pR"
    assert rest(cache, slots, [half]) == [half]
    assert half.sequence.ledger.n_cells == 5


def test_an_event_for_who_is_parked_waits_until_it_is_called() -> None:
    cache = FakeLlama(n_slots=2)
    slots = Slots(2)
    claims = unread(cache, 4)
    rest(cache, slots, claims)
    for c in claims:
        c.sequence.append(Segment(Kind.SAID, [66] * 4))
    assert rest(cache, slots, claims) == [claims[0], claims[3]]
    assert slots_of(claims) == "RppR"
    assert rest(cache, slots, [called(claims[1], 1), *claims[2:]]) == [claims[1]]


def test_reading_ahead_leaves_half_of_the_budget() -> None:
    cache = FakeLlama(n_slots=2)
    claims = unread(cache, 12)
    one = len(cache.export(0)) + len("[0, 65], " * 5) - 2
    for budget, n_parked in ((0, 0), (2 * one - 1, 0), (2 * one, 1), (7 * one, 3)):
        parking = Parking(budget)
        slots = Slots(2, parking)
        rest(cache, slots, claims)
        assert slots_of(claims).count("p") == n_parked
        assert sum(c.sequence.n_parked_bytes for c in claims) == n_parked * one
        assert rest(cache, slots, claims) == [], "and stops there"
        for c in claims:
            slots.leave(c.sequence)
        parking.close()


def test_what_cannot_be_copied_out_stays() -> None:
    class Stubborn(FakeLlama):
        def export_size(self, slot: int) -> int:
            return 0

    cache = Stubborn(n_slots=2)
    claims = unread(cache, 4)
    rest(cache, Slots(2), claims)
    assert slots_of(claims) == "RR--"


def test_moves_are_timed() -> None:
    cache = FakeLlama(n_slots=1)
    now = itertools.count()
    slots = Slots(1, clock=lambda: next(now) / 1000)
    a, b = claim(cache, NEAR, 1), claim(cache, NEAR, 2)
    slots.assign([a])
    assert (slots.parks.n, slots.call_ins.n) == (0, 0), "there was nothing to call in"
    read(cache, a)
    slots.assign([b])
    read(cache, b)
    slots.assign([a])
    assert (slots.parks.n, slots.call_ins.n) == (2, 1)
    for moves in (slots.parks, slots.call_ins):
        assert 0.99 < moves.mean_ms < 1.01 and 0.99 < moves.last_ms < 1.01


def test_whoever_leaves_while_parked_gives_up_its_room() -> None:
    cache = FakeLlama(n_slots=1)
    parking = Parking(0)
    slots = Slots(1, parking)
    a, b = claim(cache, NEAR, 1), claim(cache, NEAR, 2)
    slots.assign([a])
    read(cache, a)
    slots.assign([b])
    copy = a.sequence.copy
    assert copy is not None and copy.n_disk_bytes
    slots.leave(a.sequence)
    assert copy.is_released and a.sequence.copy is None
    parking.close()


def test_leaving_frees_the_slot_and_its_cells() -> None:
    cache = FakeLlama(n_slots=1)
    slots = Slots(1)
    a, b = claim(cache, NEAR, 0), claim(cache, NEAR, 1)
    slots.assign([a])
    read(cache, a)
    slots.leave(a.sequence)
    assert (a.sequence.slot, cache.held(0), a.sequence.n_pending) == (None, [], 5)
    assert slots.assign([b]) == [b]
    slots.leave(a.sequence)  # twice is once
    assert b.sequence.slot == 0


def goes_first(resident: Claim, standing: Claim) -> bool:
    if resident.priority is standing.priority:
        return resident.order < standing.order
    return resident.rank <= standing.rank


class SlotsMachine(RuleBasedStateMachine):
    """Characters come, want something, are read, and go."""

    @initialize(n_slots=st.integers(1, 4))
    def begin(self, n_slots: int) -> None:
        self.cache = FakeLlama(n_slots=n_slots, n_cells=10_000, n_batch=10_000)
        self.slots = Slots(n_slots)
        self.claims: list[Claim] = []
        self.orders = itertools.count()

    @precondition(lambda self: len(self.claims) < 8)
    @rule(priority=st.sampled_from(Priority))
    def come(self, priority: Priority) -> None:
        order = next(self.orders)
        self.claims.append(claim(self.cache, priority, order, kind=Kind.PERSONA))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.claims))
        self.claims.remove(gone)
        self.slots.leave(gone.sequence)
        assert gone.sequence.slot is None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), priority=st.sampled_from(Priority))
    def say(self, data: st.DataObject, priority: Priority) -> None:
        chosen = data.draw(st.sampled_from(self.claims))
        chosen.priority, chosen.order = priority, next(self.orders)
        chosen.sequence.ledger.append_token(66)

    @rule()
    def step(self) -> None:
        wishes = [c for c in self.claims if c.sequence.n_pending]
        before = {id(c): c.sequence.slot for c in wishes}
        residents = self.slots.assign(wishes)
        assert {id(c) for c in residents} == {id(c) for c in wishes if c.sequence.slot is not None}
        standing = [c for c in wishes if c.sequence.slot is None]
        for c in standing:
            if c.urgent:
                assert len(residents) == self.cache.n_slots
                assert all(s.urgent and goes_first(s, c) for s in residents)
            if before[id(c)] is not None:
                assert any(goes_first(s, c) for s in residents), "parked for nobody"
        for c in residents:
            read(self.cache, c, 3)

    @rule()
    def rest(self) -> None:
        """With nobody speaking all personas are read; then nobody moves any more."""
        wishes = [c for c in self.claims if c.sequence.n_pending]
        for c in wishes:
            c.priority = IDLE
        rest(self.cache, self.slots, self.claims)
        assert not any(c.sequence.ledger.n_cells < 5 for c in self.claims)
        n_moves = self.slots.parks.n + self.slots.call_ins.n
        assert rest(self.cache, self.slots, self.claims) == []
        assert self.slots.parks.n + self.slots.call_ins.n == n_moves

    @invariant()
    def slots_are_lent_once_and_none_is_lost(self) -> None:
        lent = [c.sequence.slot for c in self.claims if c.sequence.slot is not None]
        assert sorted([*lent, *self.slots._free]) == list(range(self.cache.n_slots))

    @invariant()
    def every_slot_holds_its_sequence(self) -> None:
        owners = {c.sequence.slot: c.sequence.ledger for c in self.claims}
        for slot in range(self.cache.n_slots):
            ledger = owners.get(slot)
            expected = ledger.tokens()[: ledger.n_cells] if ledger else []
            assert self.cache.held(slot) == expected


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.sampled_from([NEAR, AMBIENT]), st.sampled_from([PLAYER, NEAR]))
def test_nobody_waits_for_a_slot_for_ever(n_slots: int, poor: Priority, rich: Priority) -> None:
    """As many others as there are slots never stop asking; the one they leave out still speaks."""
    cache = FakeLlama(n_slots=n_slots, n_cells=10_000, n_batch=64)
    slots = Slots(n_slots)
    orders = itertools.count()
    others = [claim(cache, rich, next(orders)) for _ in range(n_slots)]
    victim = claim(cache, poor, next(orders), n=3)
    for _ in range(3 * (3 * PATIENCE)):
        for run in schedule(slots.assign([*others, victim]), 64, 1 << 10):
            read(cache, run.claim, run.n_tokens)
        for c in others:
            if not c.sequence.n_pending:
                c.order = next(orders)
                c.sequence.ledger.append_token(66)
        if not victim.sequence.n_pending:
            return
    raise AssertionError(f"{victim.sequence.n_pending} tokens are still unread")


def test_equals_do_not_swap_places_while_they_read() -> None:
    """Those who stand age; who got a slot for its line stays until that is said."""
    cache = FakeLlama(n_slots=1, n_cells=10_000, n_batch=64)
    slots = Slots(1)
    first, second = claim(cache, NEAR, 0, n=6 * PATIENCE), claim(cache, NEAR, 1, n=6 * PATIENCE)
    while first.sequence.n_pending:
        assert slots.assign([first, second]) == [first]
        read(cache, first, 2)
    assert slots.assign([first, second]) == [first]  # it speaks: `urgent` until its line has ended
    first.priority = Priority.IDLE
    assert slots.assign([second]) == [second]
