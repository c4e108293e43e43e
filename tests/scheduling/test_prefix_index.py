"""Who begins alike, against counting by hand."""

from hypothesis import given
from hypothesis import strategies as st

from npc_engine.scheduling.prefix_index import PrefixIndex, Tokens, n_shorter

tokens = st.lists(st.integers(0, 2), max_size=8).map(tuple)


def naive_common(a: Tokens, b: Tokens) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


@given(tokens, st.lists(tokens))
def test_the_longest_that_it_begins_with(a: Tokens, others: list[Tokens]) -> None:
    shorter = [len(b) for b in others if b != a and naive_common(a, b) == len(b)]
    assert n_shorter(a, others) == max(shorter, default=0)


@given(st.lists(tokens), st.integers(0, 5), tokens)
def test_all_of_them_in_any_order(all_: list[Tokens], n_gone: int, asked: Tokens) -> None:
    prefixes = PrefixIndex()
    for i, own in enumerate(all_):
        prefixes.add(f"{i}", own)
    for i, own in enumerate(all_[:n_gone]):
        prefixes.remove(f"{i}", own)
    rest = dict(enumerate(all_[n_gone:], n_gone))
    for i, own in rest.items():
        others = [other for j, other in rest.items() if j != i]
        most = max((naive_common(own, other) for other in others), default=0)
        assert prefixes.n_common(f"{i}", own) == most
    found = sum(own[: len(asked)] == asked for own in rest.values())
    assert prefixes.n_that_begin_with(asked) == found
