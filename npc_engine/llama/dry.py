"""DRY: what would go on with a phrase said before becomes less likely, the more the longer it is.

Owns how much less. It knows no model and no logits: tokens come, and penalties for the next one go.
By p-e-w (https://github.com/oobabooga/text-generation-webui/pull/5677). The penalties are those of
llama.cpp's own sampler, which knows no exemptions but behind single tokens: it misspells a name, a
title or a pass phrase that is said for the third time.
"""

from collections.abc import Callable, Iterable, Sequence

__all__ = ["BASE", "N_FREE", "Dry"]

BASE = 1.75  # llama.cpp's default (common/common.h)
N_FREE = 4  # tokens that may be said again for free
_MAX_LENGTH = 64  # of a phrase that is looked at: far beyond what any logit could make good


class Dry:
    """What one reply should not say again; its next token's penalties.

    `strength`: the penalty for N_FREE repeated tokens. `window`: tokens that are looked back.
    `recent`: what the character said last. `is_exempt`: whether a token may be said next all the
    same.
    """

    def __init__(
        self,
        strength: float,
        window: int,
        recent: Iterable[int],
        is_exempt: Callable[[int], bool],
    ) -> None:
        self._strength = strength
        self._window = window
        self._is_exempt = is_exempt
        self._said: list[int] = []
        # Where each run of N_FREE tokens ends.
        self._ends: dict[tuple[int, ...], list[int]] = {}
        for token in recent:
            self.accept(token)

    def accept(self, token: int) -> None:
        """Note what was said."""
        self._said.append(token)
        self._ends.setdefault(self._run(), []).append(len(self._said) - 1)

    def _run(self) -> tuple[int, ...]:
        return tuple(self._said[-N_FREE:])

    def penalties(self) -> dict[int, float]:
        """Return by how much the logits of some tokens go down."""
        ends = self._ends.get(self._run(), ()) if self._strength else ()
        if len(ends) < 2:
            return {}
        return {
            token: self._strength * BASE ** (n - N_FREE)
            for token, n in self._repeated(ends[:-1]).items()
            if not self._is_exempt(token)
        }

    def _repeated(self, ends: Sequence[int]) -> dict[int, int]:
        """Return what followed what was said last, and how many tokens would be the same."""
        said, last = self._said, len(self._said) - 1
        first = len(said) - min(self._window, len(said))
        longest: dict[int, int] = {}
        for end in reversed(ends):  # the nearest first: where all is repeated, it has the longest
            token = said[end + 1]
            most = min(end - first + 1, _MAX_LENGTH)
            if most < N_FREE or longest.get(token, 0) >= most:
                continue
            n = N_FREE
            while n < most and said[end - n] == said[last - n]:
                n += 1
            longest[token] = max(longest.get(token, 0), n)
        return longest
