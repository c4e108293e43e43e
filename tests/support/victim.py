"""An engine that loads whatever file it is given, and what must hold whatever that was.

The file goes the real way: a slot on disk, `Store.read`, the checks of `saving` and
`serialization`, the stage. The seam to llama.cpp is watched: bytes get there only if the file's
signature holds.
"""

import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npc_engine import protocol as m
from npc_engine.errors import BackendError
from tests.support.mutate import KEY, NAME, WINDOW, signed_payload
from tests.support.rig import Rig, TimedLlama

MOST_SECONDS = 5.0  # of CPU time for one file; far more than any takes, less than a quadratic loop
MOST_MESSAGE = 2_000


class WatchedLlama(TimedLlama):
    """Lets only bytes in that it has given itself, or that a signature vouches for."""

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self.vouched: set[bytes] = set()
        self.n_let_in = 0

    def export(self, slot: int) -> bytes:
        payload = super().export(slot)
        self.vouched.add(payload)
        return payload

    def restore(self, slot: int, payload: bytes) -> bool:
        assert payload in self.vouched, "bytes that nobody vouches for"
        self.n_let_in += 1
        return super().restore(slot, payload)

    def decode(self, spans: Sequence[Any]) -> list[int]:
        for slot, first, _, _ in spans:
            if first != max(self.slots[slot], default=-1) + 1:
                raise BackendError("llama_decode failed with code -1.")  # as llama.cpp refuses it
        return super().decode(spans)


class Victim:
    """Loads files into `folder`'s slot, and lets whoever comes of it speak.

    `n_extra`: memory that the last load took beside the file's own bytes, while tracemalloc runs.
    """

    def __init__(self, folder: Path) -> None:
        self.fake = WatchedLlama(n_slots=2, n_cells=WINDOW)
        self.rig = Rig(folder, fake=self.fake, window=WINDOW)
        self.rig.engine._saving._files.given_key = KEY
        self.n_extra = 0
        self.file = folder / "slot" / f"{NAME}.npc"
        self.file.parent.mkdir(parents=True)

    def take(self, data: bytes) -> str:
        """Load a file; returns its source, or the code with which it was refused."""
        self.file.write_bytes(data)
        ours = signed_payload(data, KEY)
        self.fake.vouched = {ours} if ours else set()
        self.rig.check_every = 1 << 30  # what is ours, but wrong, need not be what the ledger says
        began = time.process_time()
        before = self._start_peak()
        reply = self.rig.load("slot")
        self.n_extra = tracemalloc.get_traced_memory()[1] - before - len(data)
        source = self._refused(reply) if isinstance(reply, m.Error) else self._accepted(reply, ours)
        assert time.process_time() - began < MOST_SECONDS, "it takes for ever"
        assert self.file.read_bytes() == data, "the file was touched"
        self._forget()
        return source

    @staticmethod
    def _start_peak() -> int:
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()
        return tracemalloc.get_traced_memory()[0]

    def _refused(self, error: m.Error) -> str:
        assert error.code in ("bad_snapshot", "too_large"), error
        assert error.message and error.help, error
        assert len(error.message) + len(error.help) < MOST_MESSAGE, "a reply of megabytes"
        assert not self.rig.engine.stage.characters, "somebody came in spite of it"
        return error.code

    def _accepted(self, loaded: m.Reply, ours: bytes | None) -> str:
        assert isinstance(loaded, m.Loaded), loaded
        (npc,) = loaded.npcs
        assert npc.source == "tokens" or ours, "a payload that nobody vouches for"
        assert npc.source == "payload" or npc.notice, "no word of why"
        self.rig.check_every = 1 if npc.source == "tokens" else 1 << 30
        reply = self.rig.until(self.rig.say(NAME, "Who are you?", max_tokens=3))
        if npc.source == "payload" and isinstance(reply, m.Error):
            assert "llama_decode" in reply.message, (
                reply
            )  # what was wrong with it is read again now
            self.rig.check_every = 1
            reply = self.rig.until(self.rig.say(NAME, "Who are you?", max_tokens=3))
        assert isinstance(reply, m.Done), reply
        return npc.source

    def _forget(self) -> None:
        if self.rig.engine.stage.characters:
            self.rig.ask(m.Despawn(id=self.rig.id(), npc=NAME))
        self.rig.replies.clear()
        self.rig.by_id.clear()
        self.fake.batches.clear()
        self.fake.samplers.clear()

    def close(self) -> None:
        """End the engine."""
        self.rig.close()
