"""Copies of a recurrent state: which are kept, and to which of them a sequence goes back."""

from npc_engine.kvcache.state_copies import StateCopies
from tests.support.fake_llama import FakeLlama

SLOT = 0


class Read:
    """A slot that reads tokens one after the other, and keeps copies now and then."""

    def __init__(self) -> None:
        self.fake = FakeLlama(n_cells=100)
        self.fake.keeps_states = True
        self.copies = StateCopies(self.fake)

    def on(self, n: int, keep: bool = True) -> None:
        held = len(self.fake.held(SLOT))
        self.fake.decode([(SLOT, held, list(range(held, held + n)), False)])
        if keep:
            self.copies.keep(SLOT, held + n)

    @property
    def ends(self) -> list[int]:
        return [end for end, _ in self.copies.kept]


def test_the_first_and_the_last_two_are_kept() -> None:
    read = Read()
    assert not read.copies
    for n in (10, 5, 5, 5, 5):
        read.on(n)
    assert read.ends == [10, 25, 30]
    assert read.copies.n_bytes == sum(len(state) for _, state in read.copies.kept) > 0


def test_where_nothing_was_read_since_there_is_no_second_copy() -> None:
    read = Read()
    read.on(10)
    read.copies.keep(SLOT, 10)
    assert read.ends == [10]


def test_it_goes_back_to_the_last_one_from_before_a_position() -> None:
    read = Read()
    for n in (10, 10, 10):
        read.on(n)
    read.on(5, keep=False)
    assert read.copies.go_back(SLOT, 24) == 20
    assert read.fake.held(SLOT) == list(range(20))
    assert read.ends == [10, 20], "what lies behind is of no use any more"
    assert read.copies.go_back(SLOT, 20) == 20
    assert read.copies.go_back(SLOT, 19) == 10


def test_without_one_from_before_there_is_nothing_to_go_back_to() -> None:
    read = Read()
    read.on(10)
    assert read.copies.go_back(SLOT, 9) == 0
    assert not read.copies


def test_one_that_would_read_positions_twice_is_passed_over() -> None:
    """The last cells before it have left: reading would go on before the state's end."""
    read = Read()
    for n in (10, 10):
        read.on(n)
    del read.fake.slots[SLOT][19]
    assert read.copies.go_back(SLOT, 20) == 10
    assert read.ends == [10]


def test_parked_elsewhere_they_take_no_memory_and_come_back_in_order() -> None:
    read = Read()
    for n in (10, 10):
        read.on(n)
    before = list(read.copies.kept)
    states = read.copies.hand_over()
    assert (read.ends, read.copies.n_bytes) == ([10, 20], 0)
    read.copies.take_over(states)
    assert read.copies.kept == before
    read.copies.clear()
    assert not read.copies
