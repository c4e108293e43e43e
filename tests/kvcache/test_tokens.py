"""What two sequences of tokens have in common, against counting by hand."""

from itertools import takewhile

from hypothesis import given
from hypothesis import strategies as st

from npc_engine.kvcache.tokens import n_common

tokens = st.lists(st.integers(0, 2), max_size=8)


@given(tokens, tokens)
def test_a_common_prefix(a: list[int], b: list[int]) -> None:
    n = len([*takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))])
    assert n_common(a, b) == n_common(b, a) == n
    assert n_common(tuple(a), tuple(b)) == n
