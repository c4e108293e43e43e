"""What must be there after a kill, as the log of the one that was killed says."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from npc_engine.saving.autosave import AUTOSAVE
from npc_engine.storage.backups import original_of
from tests.powercut.look import Found, Look
from tests.support.crashfs import Record

MOST_PAUSE_S = 0.05  # it writes a record every few milliseconds


@dataclass
class Book:
    """What may be there, and the least that must be, as a log says."""

    states: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    least: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    casts: dict[str, set[frozenset[str]]] = field(default_factory=lambda: defaultdict(set))
    asked: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)
    ended: list[tuple[float, str, int]] = field(default_factory=list)
    replies: dict[int, bytes] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    last: int = 0
    ran: float = 0.0  # seconds
    _last_t: float = 0.0

    def take(self, record: Record) -> None:
        self.ran += min(MOST_PAUSE_S, max(0.0, record.t - self._last_t))
        self._last_t = record.t
        note = getattr(self, f"_{record.what}", None)
        if note is not None:
            note(*record.args)

    def _state(self, npc: str, name: str, n: int) -> None:
        self.states[npc].add(name)
        self.last = max(self.last, n)

    def _safe(self, slot: str, far: dict[str, int]) -> None:
        for npc, n in far.items():
            self.least[slot][npc] = max(n, self.least[slot].get(npc, 0))
        self.casts[slot].add(frozenset(self.least[slot]))  # no save leaves anybody out

    def _rewrites(self, slot: str, far: dict[str, int]) -> None:
        """A save of those that are not journaled there: it may be older than they are."""
        least = self.least[slot]
        least.update({npc: min(n, least[npc]) for npc, n in far.items() if npc in least})

    def _copied(self, slot: str, to: str) -> None:
        self._safe(to, self.least[slot])

    def _asked(self, request: str, slot: str, far: dict[str, int]) -> None:
        self.asked[request] = slot, far

    def _saved(self, request: str) -> None:
        self._safe(*self.asked[request])

    def _ended(self, npc: str, n: int, reply: bytes) -> None:
        self.ended.append((self.ran, npc, n))
        self.replies[n] = reply
        self.last = max(self.last, n)

    def _trouble(self, text: str) -> None:
        self.troubles.append(text)

    def begin(self, found: Found) -> None:
        """Begin a round: what was found is there, and what was not is gone."""
        self.ended, self.asked, self.troubles = [], {}, []
        self.least.clear()
        for slot, there in found.items():
            if original_of(slot) is None:
                self._safe(slot, {npc: n for npc, (_, n, _) in there.items()})

    def wrong(self, look: Look) -> Iterable[str]:
        """Yield what is broken, or older than it must be."""
        yield from self.troubles
        yield from look.troubles
        for slot, least in self.least.items():
            for npc, n in least.items():
                has = look.found.get(slot, {}).get(npc)
                if has is None or has[1] < n:
                    yield f"{slot}/{npc} was safe with <{n}>, and is {has!r:.60}"
        for slot, there in look.found.items():
            origin = original_of(slot)
            if origin and frozenset(there) not in self.casts[origin[0]]:
                yield f"{slot} is not whole: {sorted(there)}"
            for npc, (name, n, after) in there.items():
                if name not in self.states[npc]:
                    yield f"{slot}/{npc} is in a state that it never was in"
                if not after.startswith(self.replies.get(n, b"")):
                    yield f"{slot}/{npc} says {after!r} to <{n}>, and said {self.replies[n]!r}"

    def lost_turns(self, look: Look) -> list[float]:
        """Return of each turn that had ended, and is not in the autosave, how long ago it had.

        In seconds in which the process ran: a pause between two records had no processor.
        """
        there = look.found.get(AUTOSAVE, {})
        return [self.ran - t for t, npc, n in self.ended if npc not in there or there[npc][1] < n]
