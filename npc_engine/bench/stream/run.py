"""All policies of `bench stream` over one text, in turns, and going on after an interruption.

Owns the loop, what must be the same for a run to go on, and the file that is left of one that was
interrupted: written whole or not at all, signed with this installation's key, since cells in it go
into C code. It knows no flags and no report.
"""

import dataclasses
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from npc_engine.bench.shared.report import write_bytes
from npc_engine.bench.shared.run import progress, say
from npc_engine.bench.stream.contexts import Setup, open_reader
from npc_engine.bench.stream.reader import N_BLOCK, Block, Reader
from npc_engine.errors import ConfigError, SetupError
from npc_engine.llama.model import LIBRARY_VERSION, Model
from npc_engine.storage.signing_key import installation_key

__all__ = ["Run", "digest"]

MIN_BETWEEN_S = 20.0  # the cells of seven windows are not written all the time


class Place(msgspec.Struct):
    """Where one policy stands at a block's end. `payload`: its cells, where they are needed."""

    blocks: list[Block]
    n_done: int
    ended: str
    payload: bytes


class Partial(msgspec.Struct):
    """`run`: what was asked, as text: a run of anything else cannot go on from this."""

    run: str
    n_done: int
    places: dict[str, Place]


class Run:
    """A text read with several policies. `text`: its last token is scored, and not read.

    `partial`: where it is kept what there is, for the next time.
    """

    def __init__(self, model: Model, setup: Setup, text: list[int], partial: Path) -> None:
        self.model = model
        self.setup = setup
        self.text = text
        self.partial = partial
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
            say(_farewell(self._n_kept))
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
            _write_partial(self.partial, Partial(self._key(list(readers)), last, places))
            self._kept_at = time.monotonic()
            self._n_kept = last

    def _go_on(self, readers: dict[str, Reader]) -> None:
        kept = _read_partial(self.partial)
        if kept is None:
            return
        if kept.run != self._key(list(readers)):
            raise ConfigError(
                f"{str(self.partial)!r} is of a run with other settings, another model or text.",
                "Give the same flags to go on, another --out, or remove that file to start anew.",
            )
        say(f"Going on from {kept.n_done:,} tokens ...")
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


def _write_partial(path: Path, partial: Partial) -> None:
    """Write a run's state. Raises SetupError."""
    data = msgspec.msgpack.encode(partial)
    fails = f"The state of this run cannot be written to {str(path)!r}"
    write_bytes(path, _signature(data) + data, fails)


def _read_partial(path: Path) -> Partial | None:
    """Return a run's state, None where there is none. Raises SetupError for a foreign one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SetupError(f"{str(path)!r} cannot be read: {error.strerror}.", "Remove it.") from None
    if hmac.compare_digest(data[:32], _signature(data[32:])):
        try:
            return msgspec.msgpack.decode(data[32:], type=Partial)
        except (msgspec.MsgspecError, ValueError):
            pass  # signed by another version
    raise SetupError(
        f"{str(path)!r} is no state that this version wrote on this computer.",
        "Remove it, and the run starts anew.",
    )


def _signature(data: bytes) -> bytes:
    return hmac.digest(installation_key(), data, hashlib.sha256)
