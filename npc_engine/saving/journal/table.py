"""Who is journaled into which slot, and who of them has more than the snapshot there.

Owns that table. It never looks at those who have not changed.
"""

from collections.abc import Iterator

from npc_engine.characters.character import Character
from npc_engine.saving.journal.pace import JournalPace

__all__ = ["JournalTable"]


class JournalTable:
    """Characters by name and slot."""

    def __init__(self) -> None:
        self._paces: dict[str, dict[str, JournalPace]] = {}  # by name and slot
        self._unfolded: dict[str, dict[str, JournalPace]] = {}  # by slot and name: has a journal

    def __len__(self) -> int:
        """How many characters are."""
        return len(self._paces)

    def __iter__(self) -> Iterator[JournalPace]:
        return (pace for slots in self._paces.values() for pace in slots.values())

    def add(self, pace: JournalPace) -> None:
        """Note one, in the place of whoever had its name in its slot."""
        self._paces.setdefault(pace.name, {})[pace.slot] = pace

    def remove(self, pace: JournalPace) -> None:
        """Note that it is journaled no more."""
        slots = self._paces[pace.name]
        del slots[pace.slot]
        if not slots:
            del self._paces[pace.name]
        self._unfolded.get(pace.slot, {}).pop(pace.name, None)

    def of(self, slot: str, name: str) -> JournalPace | None:
        """Return what is noted of a character that is journaled into a slot."""
        return self._paces.get(name, {}).get(slot)

    def of_character(self, slot: str, character: Character) -> JournalPace | None:
        """Return what is noted of this one; None where another has its name by now."""
        pace = self.of(slot, character.dialogue.name)
        return pace if pace is not None and pace.character is character else None

    def has(self, pace: JournalPace) -> bool:
        """Whether it is one of these."""
        return self.of(*pace.key) is pace

    def all_of(self, name: str) -> list[JournalPace]:
        """Return those of one name, one for each slot."""
        return list(self._paces.get(name, {}).values())

    def note_change(self, pace: JournalPace) -> None:
        """Note that it has more than its snapshot."""
        self._unfolded.setdefault(pace.slot, {})[pace.name] = pace

    def changed(self, slot: str) -> Iterator[str]:
        """Yield who has changed since its snapshot in a slot, and is not amid a line."""
        unfolded = self._unfolded.get(slot, {})
        while unfolded and next(iter(unfolded.values())).is_folded:
            del unfolded[next(iter(unfolded))]
        for name, pace in unfolded.items():
            if pace.wants_fold:
                yield name
