"""All policies of `bench stream` over one text, in turns, and going on after an interruption.

Owns the loop and what must be the same for a run to go on. It knows no flags and no report.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from npc_engine.bench.shared.report import progress
from npc_engine.bench.stream.contexts import Setup, open_reader
from npc_engine.bench.stream.partial import Partial, Place, read_partial, write_partial
from npc_engine.bench.stream.reader import N_BLOCK, Reader
from npc_engine.errors import ConfigError
from npc_engine.llama.model import LIBRARY_VERSION, Model

__all__ = ["Run", "digest"]

MIN_BETWEEN_S = 20.0  # the cells of seven windows are not written all the time


class Run:
    """A text read with several policies. `text`: its last token is scored, and not read.

    `partial`: where it is kept what there is, for the next time.
    """

    def __init__(
        self,
        model: Model,
        setup: Setup,
        text: list[int],
        partial: Path,
        say: Callable[[str], None],
    ) -> None:
        self.model = model
        self.setup = setup
        self.text = text
        self.partial = partial
        self._say = say
        self._n_done = self._n_kept = 0
        self._kept_at = 0.0

    def run(self, names: Sequence[str]) -> dict[str, Reader | str]:
        """Read the whole text with every policy; a policy that cannot run says why.

        Raises ConfigError where `partial` is of another run, and KeyboardInterrupt.
        """
        readers = {name: open_reader(self.model, name, self.setup) for name in names}
        active = {name: r for name, r in readers.items() if isinstance(r, Reader)}
        try:
            self._go_on(active)
            n = len(self.text) - 1
            with progress(n * len(active), "reading") as show:
                while self._n_done < n:
                    self._round(active, min(self._n_done + N_BLOCK, n), show)
        except KeyboardInterrupt:
            self._say(_farewell(self._n_kept))
            raise
        finally:
            for reader in active.values():
                reader.llama.close()
        return readers

    def _round(
        self, readers: dict[str, Reader], last: int, show: Callable[[float, str], None]
    ) -> None:
        first = self._n_done
        places = {}
        for i, (name, reader) in enumerate(readers.items()):
            show(first * len(readers) + i * (last - first), f"{last:,} tokens: {name}")
            reader.read(self.text, last)
            places[name] = Place(reader.blocks, reader.n_done, reader.ended, reader.settle())
        self._n_done = last
        show(last * len(readers), f"{last:,} tokens")
        if time.monotonic() - self._kept_at > MIN_BETWEEN_S:
            write_partial(self.partial, Partial(self._key(list(readers)), last, places))
            self._kept_at = time.monotonic()
            self._n_kept = last

    def _go_on(self, readers: dict[str, Reader]) -> None:
        kept = read_partial(self.partial)
        if kept is None:
            return
        if kept.run != self._key(list(readers)):
            raise ConfigError(
                f"{str(self.partial)!r} is of a run with other settings, another model or text.",
                "Give the same flags to go on, another --out, or remove that file to start anew.",
            )
        self._say(f"Going on from {kept.n_done:,} tokens ...")
        for name, reader in readers.items():
            place = kept.places[name]
            reader.ended = place.ended
            if not place.ended:
                reader.resume(self.text, place.blocks, place.n_done, place.payload)
            reader.blocks, reader.n_done = place.blocks, place.n_done
        self._n_done = self._n_kept = kept.n_done

    def _key(self, names: Sequence[str]) -> str:
        """Whatever may change the result."""
        return json.dumps(
            {
                "setup": dataclasses.asdict(self.setup),
                "policies": list(names),
                "model": self.model.fingerprint(),
                "text": digest(self.text),
                "library": LIBRARY_VERSION,
            }
        )


def digest(tokens: list[int]) -> str:
    """Return what tells texts apart."""
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16]


def _farewell(n_kept: int) -> str:
    if not n_kept:
        return "\nInterrupted before anything was kept; the same command begins anew."
    return f"\nInterrupted. The same command goes on from {n_kept:,} tokens."
