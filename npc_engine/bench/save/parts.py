"""The parts of `bench save`: one character into a file and back, and a save beside speakers.

Owns the order in which things take turns in each.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from npc_engine import protocol as m
from npc_engine.bench.crowd.crowd import CLIENT, ROOM, Crowd
from npc_engine.bench.save.figures import Beside, Character, Measured, Trip
from npc_engine.bench.save.figures import Crowd as CrowdFigures
from npc_engine.bench.shared.run import Part, check_memory
from npc_engine.errors import BackendError, SnapshotError
from npc_engine.llama.model import Layout, Model
from npc_engine.storage.signing_key import installation_key
from npc_engine.storage.snapshot import Snapshot, encode_parts
from npc_engine.storage.store import Store

__all__ = ["PARTS", "Setup"]

PATIENCE_S = 120.0  # for one answer; then it is given up
WHOLE, LEAN = "whole", "lean"  # slots: with the KV cache, and without
NAME = "npc0"
MOST_STEPS = 2000  # until all speak


@dataclass(frozen=True)
class Setup:
    """What is measured. `layouts`: by the KV type that was asked for; `layout`: the best one here.

    `depths`: tokens of the one character; `depth`: of each of `n_characters`. `n_quiet`: steps
    before and after a save. `folder`: for the saves.
    """

    model: Model
    layouts: Mapping[str, Layout]
    layout: Layout
    n_threads: int
    folder: Path
    depths: tuple[int, ...]
    n_rounds: int
    n_characters: int
    n_speakers: int
    depth: int
    n_quiet: int


def _open(setup: Setup, layout: Layout, n_slots: int, depth: int, folder: str) -> Crowd:
    """A crowd that saves all it knows. Raises ModelError where it does not fit into memory."""
    cells = n_slots * (depth + ROOM) + 2 * n_slots * depth  # in the cache, copied out, in a file
    check_memory(
        setup.model.kv_bytes_per_token(layout) * cells,
        f"{n_slots} characters of {depth} tokens need {{}} MiB to be saved",
        "Give fewer --characters or a smaller --depth, or close other programs.",
    )
    n_threads, saves = setup.n_threads, str(setup.folder / folder)
    return Crowd(setup.model, layout, n_slots, depth, n_threads, saves=saves, save_kv="yes")


def _answer(crowd: Crowd, request: m.Request) -> m.Reply:
    """Send a request, and step until it is answered. Raises BackendError."""
    crowd.engine.handle(request, CLIENT)
    return _await(crowd, request.id)


def _await(crowd: Crowd, request_id: str) -> m.Reply:
    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        for _client, reply in crowd.engine.step():
            if reply.id == request_id:
                return _checked(reply)
        time.sleep(crowd.engine.patience() or 0)
    raise BackendError(f"No answer to {request_id!r} within {PATIENCE_S:g} s.")


def _checked(reply: m.Reply) -> m.Reply:
    if isinstance(reply, m.Error):
        raise SnapshotError(reply.message, reply.help)
    return reply


# -- one character there and back ----------------------------------------------------------------


def trips(setup: Setup, found: Measured) -> Iterator[str]:
    """Save one character and load it, with its KV cache and from its tokens."""
    with ExitStack() as stack:
        # An engine lets nobody else write in its folder.
        store = stack.enter_context(closing(Store(setup.folder / "written", installation_key())))
        cases: list[tuple[Crowd, Character]] = []
        for kv_type, layout in setup.layouts.items():
            for depth in setup.depths:
                crowd = _open(setup, layout, 1, depth, folder=f"{len(cases)}")
                stack.callback(crowd.close)
                cases.append((crowd, Character(kv_type, str(layout), 0)))
        found.characters = [character for _, character in cases]
        for number in range(setup.n_rounds):
            for crowd, character in cases:
                what = f"{crowd.depth} tokens in {character.kv_type}"
                yield f"{what}, round {number + 1} of {setup.n_rounds}"
                character.trips.append(_trip(crowd, character, store))


def _trip(crowd: Crowd, character: Character, store: Store) -> Trip:
    crowd.gather(1)
    character.n_tokens = crowd[0].dialogue.ledger.n_cells
    began = time.perf_counter()
    crowd.engine.handle(m.Save(id="save", slot=WHOLE), CLIENT)
    crowd.engine.step()  # nobody speaks: all that it does is to copy
    freeze = _since(began)
    _await(crowd, "save")
    crowd.clear()
    began = time.perf_counter()
    saves = Path(crowd.engine.settings.saves)
    snapshot = Store(saves, installation_key()).read(WHOLE)[NAME]
    read = _since(began)
    if not isinstance(snapshot, Snapshot):
        raise snapshot
    encode_ms, write = _write(store, snapshot, character)
    shutil.copytree(store.root / LEAN, saves / LEAN, dirs_exist_ok=True)
    restore = _load(crowd, WHOLE, "payload")
    crowd.clear()
    reread = _load(crowd, LEAN, "tokens")
    crowd.clear()
    return Trip(freeze, encode_ms, write, read, restore, reread)


def _write(store: Store, snapshot: Snapshot, character: Character) -> tuple[float, float]:
    """Write it again with and without its KV cache; return the ms of its bytes, and of the file."""
    key, header, state = installation_key(), snapshot.header, snapshot.state
    began = time.perf_counter()
    data = encode_parts(header, state, snapshot.payload, key)
    encode_ms = _since(began)
    began = time.perf_counter()
    character.n_bytes = store.write(WHOLE, {NAME: lambda: data}, merge=False)
    write = _since(began)
    lean = encode_parts(header, state, None, key)
    character.n_lean_bytes = store.write(LEAN, {NAME: lambda: lean}, merge=False)
    return encode_ms, write


def _load(crowd: Crowd, slot: str, source: str) -> float:
    """Return the ms from the request to a character that sits in its slot, with all it knows."""
    began = time.perf_counter()
    loaded = _answer(crowd, m.Load(id="load", slot=slot))
    if not isinstance(loaded, m.Loaded) or loaded.npcs[0].source != source:
        raise BackendError(f"A save in the slot {slot!r} did not come back by its {source}.")
    _answer(crowd, m.Attend(id="attend", npc=NAME))
    while crowd[0].dialogue.sequence.slot is None or crowd[0].dialogue.sequence.n_pending:
        if crowd.engine.patience() is None:
            raise BackendError("A loaded character found no slot.")
        crowd.engine.step()
    return _since(began)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


# -- a save beside speakers ----------------------------------------------------------------------


def beside(setup: Setup, found: Measured) -> Iterator[str]:
    """Save many characters while some of them speak."""
    n = setup.n_characters
    with closing(_open(setup, setup.layout, n, setup.depth, "beside")) as crowd:
        figures = CrowdFigures(n, setup.n_speakers, 0, str(setup.layout))
        found.crowd = figures
        for number in range(setup.n_rounds):
            what = f"{n} characters saved while {setup.n_speakers} speak"
            yield f"{what}, round {number + 1} of {setup.n_rounds}"
            crowd.gather(n)
            figures.n_tokens = round(sum(crowd[i].dialogue.ledger.n_cells for i in range(n)) / n)
            figures.rounds.append(_Beside(crowd, setup).take())
            crowd.clear()


class _Beside:
    """One round: all speak, are saved meanwhile, and speak on."""

    def __init__(self, crowd: Crowd, setup: Setup) -> None:
        self._crowd = crowd
        self._n_quiet = setup.n_quiet
        self._speakers = [crowd[i] for i in range(setup.n_speakers)]
        self._saved: m.Saved | None = None

    def take(self) -> Beside:
        crowd = self._crowd
        crowd.ask([c.dialogue.name for c in self._speakers])
        for _ in range(MOST_STEPS):
            if self._all_speak():
                break
            self._step()
        quiet = self._steps(self._n_quiet)
        crowd.engine.handle(m.Save(id="save", slot=WHOLE), CLIENT)
        during: list[float] = []
        until = time.perf_counter() + PATIENCE_S
        while self._saved is None and time.perf_counter() < until:
            during += self._steps(1)
        if self._saved is None:
            raise BackendError(f"A save was not done within {PATIENCE_S:g} s.")
        quiet += self._steps(self._n_quiet)
        return Beside(quiet, during, self._saved.ms, self._saved.n_bytes)

    def _all_speak(self) -> bool:
        return all(c.claim.is_row for c in self._speakers)

    def _steps(self, n: int) -> list[float]:
        """Return the ms of n steps in which all speak."""
        taken: list[float] = []
        for _ in range(MOST_STEPS):
            if len(taken) == n:
                return taken
            counts = self._all_speak()
            ms = self._step()
            if counts:
                taken.append(ms)
        raise BackendError(f"{len(self._speakers)} characters never all spoke at once.")

    def _step(self) -> float:
        began = time.perf_counter()
        replies = self._crowd.engine.step()
        ms = _since(began)
        for _client, reply in replies:
            _checked(reply)
            if isinstance(reply, m.Saved):
                self._saved = reply
            elif isinstance(reply, m.Done):  # its own words cut it short: go on
                self._crowd.ask([reply.npc])
        return ms


PARTS: Mapping[str, Part[Setup, Measured]] = {
    "trips": Part(lambda s: s.n_rounds * len(s.depths) * len(s.layouts), trips),
    "beside": Part(lambda s: s.n_rounds, beside),
}
"""What can be measured, by name. Each has contexts of its own."""
