"""The parts of `bench crowd`: many speak at once, is it fair, and more characters than slots.

Owns the order in which things take turns in each, and the list of all parts: `threads` and
`idle` have one each.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median

import psutil

from npc_engine.bench.crowd.crowd import ROOM, Crowd, Spoken
from npc_engine.bench.crowd.figures import Measured, Parking, Round
from npc_engine.bench.crowd.idle import idle, n_looks
from npc_engine.bench.crowd.setup import Setup, check_room
from npc_engine.bench.crowd.threads import governor, n_turns
from npc_engine.bench.crowd.timed_llama import Past, Timed
from npc_engine.bench.shared.run import RESERVE_BYTES, Part
from npc_engine.config import N_RECENT
from npc_engine.errors import ModelError
from npc_engine.llama.model import Layout

__all__ = ["DEFAULTS", "PARTS"]

DEFAULTS = Layout("f16", "f16", flash_attn=True)
"""What llama.cpp takes when it is not told anything; with a unified cache."""

N_FAIR = 16
N_CHATTER = 64  # tokens of a reply in the fairness part
N_REREADS = 3
N_REPLY = 4  # tokens of a reply in the parking part: it is about what comes before
SEED = 7


def speakers(setup: Setup, found: Measured) -> Iterator[str]:
    """Let n characters speak at once: the engine, bare loops, and the engine one by one."""
    n_most = max(setup.speakers)
    with ExitStack() as stack:
        crowd = stack.enter_context(closing(_open(setup, n_most, setup.depth)))
        bare = _Bare(crowd.llama, crowd.past)
        baselines = {"bare": bare}
        if (defaults := _defaults(setup, n_most, crowd.past.tokens)) is not None:
            stack.callback(defaults.llama.close)
            baselines["defaults"] = defaults
        depths: dict[int, int] = {}
        for number in range(setup.n_rounds):
            for n in setup.speakers:
                yield f"{n} speaking, round {number + 1} of {setup.n_rounds}"
                one = _Turns(setup, crowd, baselines, n, depths.get(n, 0))
                taken = one.take(number % 2 == 0)  # it may be cut off: then there is no round
                found.rounds.setdefault(n, []).append(taken)
                depths[n] = one.depth


def _open(setup: Setup, n_slots: int, depth: int) -> Crowd:
    """Return a crowd in the best layout here. Raises ModelError where it does not fit."""
    check_room(setup, setup.layout, n_slots, depth + ROOM)
    return Crowd(setup.model, setup.layout, n_slots, depth, setup.n_threads)


@dataclass
class _Bare:
    """A bare loop over a context whose slots are empty in between."""

    llama: Timed
    past: Past

    def step_ms(self, n: int, n_steps: int, first: int) -> float:
        """Return the usual ms of a step of n rows behind `first` tokens."""
        self.past.fill(n, first)
        recent = self.past.tokens[:first][-N_RECENT:]
        taken = self.llama.bare_steps(n, n_steps, first, recent)
        for slot in range(n):
            self.llama.remove(slot, 0, -1)
        return median(taken)


def _defaults(setup: Setup, n_slots: int, tokens: list[int]) -> _Bare | None:
    """The same context as llama.cpp makes it by itself; None where it cannot."""
    try:
        check_room(setup, DEFAULTS, n_slots, setup.depth + ROOM)
        llama = Timed(
            setup.model,
            n_slots=n_slots,
            n_cells=setup.depth + ROOM,
            n_threads=setup.n_threads,
            layout=DEFAULTS,
            unified=True,
        )
    except ModelError:
        return None
    return _Bare(llama, Past(llama, tokens))


@dataclass
class _Turns:
    """One round of n speakers. `depth`: where the bare loops begin, as the engine did last."""

    setup: Setup
    crowd: Crowd
    baselines: Mapping[str, _Bare]
    n: int
    depth: int

    def take(self, engine_first: bool) -> Round:
        """Let all have their turn, in one order or the other: what drifts favours nobody."""
        n_steps = self.setup.n_steps
        if engine_first or not self.depth:
            spoken = self._speak()
            bare = self._bare()
        else:
            bare = self._bare()
            spoken = self._speak()
        serial = _with(self.crowd, self.n, lambda: self.crowd.one_by_one(n_steps))
        sides = {"engine": spoken, "serial": serial}
        return Round(
            step_ms={"engine": median(spoken.step_ms), **bare},
            python_ms=median(spoken.python_ms),
            first_ms={name: side.first_ms for name, side in sides.items()},
            tps={name: side.n_tokens / side.seconds for name, side in sides.items()},
        )

    def _speak(self) -> Spoken:
        setup = self.setup
        spoken = _with(self.crowd, self.n, lambda: self.crowd.speak(setup.n_steps))
        self.depth = min(spoken.depth, setup.depth + ROOM - setup.n_steps)
        return spoken

    def _bare(self) -> dict[str, float]:
        n_steps = self.setup.n_steps
        return {
            way: one.step_ms(self.n, n_steps, self.depth) for way, one in self.baselines.items()
        }


def _with(crowd: Crowd, n: int, measure: Callable[[], Spoken]) -> Spoken:
    try:
        crowd.gather(n)
        return measure()
    finally:
        crowd.clear()


def fair(setup: Setup, found: Measured) -> Iterator[str]:
    """Let 16 characters chatter without end, and count what each has said."""
    with closing(_open(setup, N_FAIR, setup.depth)) as crowd:
        yield f"{N_FAIR} chatter for {setup.fair_s:g} s"
        crowd.gather(N_FAIR)
        for _seconds, tokens in crowd.chatter(setup.fair_s, N_CHATTER):
            found.tokens = tokens


def parking(setup: Setup, found: Measured) -> Iterator[str]:
    """Speak to one character after another who sits in no slot."""
    with closing(_open(setup, setup.n_slots, setup.parked_depth)) as crowd:
        n = _n_that_fit(setup)
        found.parking = Parking(n, setup.n_characters, setup.n_slots, setup.parked_depth)
        crowd.gather(n, copies=True)
        chance = random.Random(SEED)  # noqa: S311
        for i in range(setup.n_swaps):
            yield f"{n} characters over {setup.n_slots} slots: {i + 1} of {setup.n_swaps} called in"
            away, _here = _places(crowd)
            if away:
                _call_in(crowd, f"npc{chance.choice(away)}", found.parking)
            _away, here = _places(crowd)
            done = crowd.answer(f"npc{chance.choice(here)}", N_REPLY)
            found.parking.first_resident.append(done.stats.ttft_ms)
            if i * N_REREADS % setup.n_swaps < N_REREADS:
                found.parking.reread.append(_reread(crowd, chance.choice(here)))
            found.parking.ram = _ram(crowd)


def _places(crowd: Crowd) -> tuple[list[int], list[int]]:
    """Who is away, and who sits in a slot."""
    places: tuple[list[int], list[int]] = [], []
    for i in range(len(crowd)):
        places[crowd[i].dialogue.sequence.slot is not None].append(i)
    return places


def _call_in(crowd: Crowd, name: str, parking: Parking) -> None:
    """Speak to one who is away. Whoever sits least recently goes out for it."""
    crowd.llama.in_ms.clear()
    crowd.llama.out_ms.clear()
    crowd.ask([name], N_REPLY)
    began = time.perf_counter()
    crowd.engine.stage.claims()  # the step would do it: here it has a time of its own
    parking.swap.append((time.perf_counter() - began) * 1000)
    parking.park += crowd.llama.out_ms
    parking.call_in += crowd.llama.in_ms
    while not (over := crowd.step()):
        pass
    parking.first_parked.append(over[0].stats.ttft_ms)


def _reread(crowd: Crowd, i: int) -> float:
    """Return the ms that it takes to read a window again that has no copy."""
    crowd.settle()
    crowd[i].dialogue.sequence.forget_cache()
    crowd[i].note_change()  # a step looks only at whom something has happened to
    began = time.perf_counter()
    crowd.settle()
    return (time.perf_counter() - began) * 1000


def _n_that_fit(setup: Setup) -> int:
    """All characters, or as many as there is memory for."""
    each = setup.model.kv_bytes_per_token(setup.layout) * (setup.parked_depth + ROOM)
    free = psutil.virtual_memory().available - RESERVE_BYTES
    return max(setup.n_slots, min(setup.n_characters, free // max(each, 1)))


def _ram(crowd: Crowd) -> dict[str, int]:
    stats = crowd.engine.stats()
    parts = {name: int(value) for name, value in stats.items() if name.endswith("_bytes")}
    return parts | {"rss_bytes": psutil.Process().memory_info().rss}


PARTS: Mapping[str, Part[Setup, Measured]] = {
    "speakers": Part(lambda s: s.n_rounds * len(s.speakers), speakers),
    "fair": Part(lambda _s: 1, fair),
    "parking": Part(lambda s: s.n_swaps, parking),
    "governor": Part(n_turns, governor),
    "idle": Part(n_looks, idle),
}
"""What can be measured, by name. Each has a context of its own, one after the other."""
