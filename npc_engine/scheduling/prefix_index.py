"""Who begins alike: token sequences by name, in sorted order.

Owns the order. In sorted order those who begin alike stand together, so the longest common prefix
is one with a neighbour, and who begins with given tokens is one run. It knows no cells and no
slots.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable

from npc_engine.kvcache.tokens import n_common

__all__ = ["PrefixIndex", "Tokens", "n_shorter"]

Tokens = tuple[int, ...]

END_OF_TOKENS = 1 << 31  # sorts behind every token


class PrefixIndex:
    """Names and their tokens; two names may have the same."""

    def __init__(self) -> None:
        self._order: list[tuple[Tokens, str]] = []

    def add(self, name: str, tokens: Tokens) -> None:
        """Take in a name, which is not there yet."""
        insort(self._order, (tokens, name))

    def remove(self, name: str, tokens: Tokens) -> None:
        """Let a name go, with the tokens that it came with."""
        self._order.pop(bisect_left(self._order, (tokens, name)))

    def n_common(self, name: str, tokens: Tokens) -> int:
        """Return the length of the longest prefix that `name` has in common with another."""
        at = bisect_left(self._order, (tokens, name))
        beside = [self._order[i][0] for i in (at - 1, at + 1) if 0 <= i < len(self._order)]
        return max((n_common(tokens, other) for other in beside), default=0)

    def n_that_begin_with(self, tokens: Tokens) -> int:
        """Return how many begin with these tokens."""
        first = bisect_left(self._order, (tokens, ""))
        return bisect_left(self._order, ((*tokens, END_OF_TOKENS), "")) - first


def n_shorter(tokens: Tokens, others: Iterable[Tokens]) -> int:
    """Return the length of the longest of the others that these tokens begin with."""
    return max((len(t) for t in others if t != tokens and tokens[: len(t)] == t), default=0)
