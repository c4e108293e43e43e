"""How much of the engine's time ambient speech may take while it is the only thing to do.

Owns the pause behind a step of ambient speech. It knows no clock, and no player: a line that
somebody waits for never waits here.

Rules
 1. A step is ambient when it holds ambient speech, and beside it only what is read ahead
    (rule 5 of `batching`). After one that took t seconds, the next ambient step waits
    t * (1 / share - 1) seconds. The machine is the game's for that long: idle reading does not
    fill the pause.
 2. A step that serves anybody else is not ambient, and waits for nothing. Ambient rows ride along
    in it, since a row beside others costs little, and it brings no pause about.
 3. What a step takes beyond MAX_STEP_S is somebody else's doing (a machine that slept, a disk):
    it does not make villagers silent for minutes.
"""

from collections.abc import Iterable

from npc_engine.scheduling.batching import Claim, Priority, Run

__all__ = ["AmbientShare"]

MAX_STEP_S = 1.0
NEARLY_S = 1e-4  # a pause with less than this left is over: no loop can sleep as finely


class AmbientShare:
    """`share`: of the engine's time, up to 1, which is no limit. Times are in seconds."""

    def __init__(self, share: float) -> None:
        self._pause_per_s = 1 / share - 1
        self._until = 0.0
        self._holds = False

    def holds(self, claims: Iterable[Claim], now: float) -> bool:
        """Whether the next step is to be put off: only ambient speech wants it, in its pause.

        `claims`: of all who want it, also those who wait for a slot: a step may win them one.
        """
        urgent = [c for c in claims if c.urgent and c.sequence.n_pending]
        only_ambient = bool(urgent) and all(c.priority is Priority.AMBIENT for c in urgent)
        self._holds = only_ambient and self._until - now > NEARLY_S
        return self._holds

    @staticmethod
    def is_ambient(runs: Iterable[Run]) -> bool:
        """Whether a step is (rule 1). To be asked before it: whoever ends a line in it is idle."""
        return min((r.claim.priority for r in runs), default=None) is Priority.AMBIENT

    def note(self, began: float, now: float) -> None:
        """Take in when an ambient step began and ended."""
        if self._pause_per_s:
            self._until = now + min(now - began, MAX_STEP_S) * self._pause_per_s

    def patience(self, now: float) -> float | None:
        """Return the seconds until what is put off may go on; None when nothing is."""
        return max(0.0, self._until - now) if self._holds else None
