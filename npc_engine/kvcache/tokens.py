"""What two sequences of tokens have in common. It knows no cells and no text."""

from typing import TypeVar

__all__ = ["n_common"]

T = TypeVar("T", list[int], tuple[int, ...])


def n_common(a: T, b: T) -> int:
    """Return the length of a common prefix. By halves: slices are compared in C."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
