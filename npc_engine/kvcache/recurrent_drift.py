"""How far a recurrent state has drifted from its persona, and when to go back to it.

A recurrent state forgets: what left the window still echoes in it, and the persona fades. In a
pause the state goes back to the copy that was made behind the persona, and reads the window again.
How much that changes what the character would say next is the drift; it decides how soon to look
again. Owns that decision for one sequence; it knows no turns and no batch.
"""

from typing import Any

from npc_engine.kvcache.sequence import Sequence

__all__ = ["RecurrentDrift", "divergence"]

MUCH, LITTLE = 0.1, 0.02  # nats: above, look twice as often; below, half as often
MOST_WINDOWS = 32  # evicted between two looks, when nothing ever drifts


class RecurrentDrift:
    """Looks at a sequence in its pauses. `nats`: what was measured last, None before that.

    `interval`: tokens evicted between two looks; the next is due when `next_look` were in all.
    """

    def __init__(self, sequence: Sequence) -> None:
        self.interval = sequence.ledger.window
        self.next_look = self.interval
        self.nats: float | None = None
        self.n_reread = 0
        self._sequence = sequence
        self._before: Any = None
        self._n_tokens = 0

    @property
    def wants_to_look(self) -> bool:
        """Whether `look` is to be called behind the next token that is read in a pause."""
        return self._before is not None or self._sequence.ledger.n_evicted >= self.next_look

    def look(self, logits: Any) -> None:
        """Take in the distribution, float32 (n_vocab,), behind all that a character has read."""
        ledger = self._sequence.ledger
        if self._before is None or not self._sequence.is_reading_again:  # it was parked meanwhile
            self._before, self._n_tokens = logits, ledger.n_tokens
            self._sequence.read_again()
            return
        before, self._before = self._before, None
        self._sequence.read_again_is_over()
        self.n_reread += 1
        if ledger.n_tokens == self._n_tokens:  # else something was heard meanwhile
            self.nats = divergence(logits, before)
            factor = 0.5 if self.nats > MUCH else 2.0 if self.nats < LITTLE else 1.0
            window = ledger.window
            self.interval = int(min(max(self.interval * factor, window / 2), MOST_WINDOWS * window))
        self.next_look = ledger.n_evicted + self.interval

    def give_up(self) -> None:
        """Somebody speaks to it: go back to the state from before `look`, and try again later."""
        if self._before is not None:
            self._before = None
            self._sequence.give_up_reading_again()
            self.next_look = self._sequence.ledger.n_evicted + self.interval // 4


def divergence(p_logits: Any, q_logits: Any) -> float:
    """Return the Kullback-Leibler divergence of q from p, in nats."""
    import numpy as np  # not before it is needed: `import npc_engine` is to be quick

    p, q = (x - x.max() - np.log(np.exp(x - x.max()).sum()) for x in (p_logits, q_logits))
    return float((np.exp(p) * (p - q)).sum())
