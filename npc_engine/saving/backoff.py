"""When something that has failed is tried again. It knows no clock, and nothing of what failed."""

__all__ = ["FIRST_S", "MAX_S", "Backoff"]

FIRST_S, MAX_S = 1.0, 30.0


class Backoff:
    """Waits twice as long after each failure in a row. `at`: not before; `wait_s`: next time."""

    def __init__(self) -> None:
        self.at = 0.0
        self.wait_s = FIRST_S

    def note_failure(self, now: float) -> None:
        """Put the next try off."""
        self.at = now + self.wait_s
        self.wait_s = min(2 * self.wait_s, MAX_S)

    def note_success(self) -> None:
        """Wait no longer than at first when it fails again."""
        self.wait_s = FIRST_S
