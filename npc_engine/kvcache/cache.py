"""What a sequence needs of the KV cache.

Owns that protocol; `llama.context` meets it, and so does the tests' FakeLlama.
"""

from typing import Protocol

__all__ = ["Cache"]


class Cache(Protocol):
    """What a sequence needs of the KV cache. `slot` is a llama.cpp seq_id."""

    def remove(self, slot: int, first: int, last: int) -> bool:
        """Remove positions [first, last), to the end when last is -1; False when it cannot."""

    @property
    def keeps_states(self) -> bool:
        """Whether there is a recurrent state, which `remove` cannot roll back."""

    def copy_state(self, slot: int) -> bytes:
        """Return the slot's recurrent state as bytes."""

    def put_state(self, slot: int, state: bytes, end: int) -> int:
        """Go back to a state in which positions below `end` were read, and remove later cells.

        Returns the position to read on from, -1 when it cannot.
        """

    @property
    def can_shift(self) -> bool:
        """Whether `shift` leaves the cells as if they had been read at their new positions."""

    def shift(self, slot: int, first: int, last: int, by: int) -> None:
        """Move the cells at positions [first, last) by `by` positions."""

    def settle(self, slot: int) -> bool:
        """Carry out now what `shift` left to the next decode; False when there is no room to."""

    def export(self, slot: int) -> bytes:
        """Return the slot's cells as bytes; none when they cannot be had."""

    def export_size(self, slot: int) -> int:
        """Return how many bytes `export` would; 0 when they cannot be had."""

    def restore(self, slot: int, payload: bytes) -> bool:
        """Fill an empty slot from bytes; False when they do not fit this cache."""
