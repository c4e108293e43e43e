"""The way of a request through the rooms, call by call, over FakeLlama.

Owns how calls are counted: those of the package's functions on the loop's thread, while it handles
a request and steps. A call leaves a room where the caller, the nearest one of the package, is in
another; it goes upward where its own room is in a higher row (RANKS in tests/repo/test_imports.py).

    python -m tests.support.walk     prints the figures
"""

import gc
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.fake_llama import FakeLlama
from tests.support.paths import ROOT
from tests.support.rig import CARD, Rig, scripted

sys.path.insert(0, str(ROOT / "tools"))  # scripts, no package

from house import ranks

__all__ = ["LINE", "WAYS", "Walk", "report", "walked"]

RANK = {room: rank for rank, rooms in enumerate(ranks()) for room in rooms}
PACKAGE = f"{ROOT / 'npc_engine'}/"
LINE = "Sit by the fire, and I will bring you bread."

Step = tuple[str, str, str]  # the caller's room, the callee's, and the callee's name


class Walk:
    """What was called between two moments."""

    def __init__(self) -> None:
        self.calls: Counter[Step] = Counter()
        self.files: set[str] = set()

    @property
    def n(self) -> int:
        return self.calls.total()

    @property
    def n_leaving(self) -> int:
        """Calls from one room into another."""
        return sum(n for (here, there, _), n in self.calls.items() if here != there)

    @property
    def upward(self) -> Counter[Step]:
        """Calls from a room into one of a higher row."""
        return Counter({s: n for s, n in self.calls.items() if RANK[s[1]] > RANK[s[0]]})

    def told(self) -> str:
        """The figures in a line."""
        share = f"{self.n_leaving / self.n:.1%}"
        up, n_files = self.upward.total(), len(self.files)
        return f"{self.n:6,} {self.n_leaving:6,} {share:>6} {up:6} {n_files:5}"

    def note(self, frame: FrameType, event: str, _arg: object) -> None:
        """Count a call, as sys.setprofile tells of it."""
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(PACKAGE):
            return
        caller = frame.f_back
        while caller and not caller.f_code.co_filename.startswith(PACKAGE):
            caller = caller.f_back
        there = _room(file)
        here = _room(caller.f_code.co_filename) if caller else there
        self.calls[here, there, frame.f_code.co_qualname] += 1
        self.files.add(file)


def _room(file: str) -> str:
    return file.removeprefix(PACKAGE).partition("/")[0].removesuffix(".py")


@contextmanager
def walked(rig: Rig) -> Iterator[Walk]:
    """Count what the rig's engine calls, and nothing of the rig's own looking."""
    walk, engine = Walk(), rig.engine
    gc.disable()  # what another test has left would be finalized amid a call
    for name in ("handle", "step", "patience"):
        setattr(engine, name, _profiled(getattr(engine, name), walk))
    try:
        yield walk
    finally:
        gc.enable()
        for name in ("handle", "step", "patience"):
            delattr(engine, name)


def _profiled(call: Callable[..., Any], walk: Walk) -> Callable[..., Any]:
    def profiled(*args: Any) -> Any:
        sys.setprofile(walk.note)
        try:
            return call(*args)
        finally:
            sys.setprofile(None)

    return profiled


# the ways


def a_line(folder: Path) -> Walk:
    """`say` to `done`, of a character that has talked before."""
    rig = _rig(folder)
    with walked(rig) as walk:
        rig.talk("mara", "May I stay?")
    return walk


def a_save(folder: Path) -> Walk:
    """A slot that is followed from now on, as autosave and most games have it."""
    rig = _rig(folder)
    with walked(rig) as walk:
        rig.save("one", mode="journal")
    return walk


def a_load(folder: Path) -> Walk:
    """The same slot, by an engine that knows nobody."""
    saved = _rig(folder)
    saved.save("one")
    saved.close()
    rig = Rig(folder)
    with walked(rig) as walk:
        rig.load("one")
    return walk


def a_scene(folder: Path) -> Walk:
    """Two turns between two characters."""
    rig = _rig(folder)
    with walked(rig) as walk:
        rig.until(rig.scene("fire", ["mara", "bram"], turns=2))
    return walk


def a_call_in(folder: Path) -> Walk:
    """A line to one parked on disk, in the only slot, where another was."""
    rig = _rig(folder, n_slots=1, park_ram=0)
    rig.talk("bram")
    with walked(rig) as walk:
        rig.talk("mara", "May I stay?")
    return walk


WAYS: dict[str, Callable[[Path], Walk]] = {
    "line": a_line,
    "save": a_save,
    "load": a_load,
    "scene": a_scene,
    "call-in": a_call_in,
}


def _rig(folder: Path, n_slots: int = 4, **settings: Any) -> Rig:
    fake = FakeLlama(n_slots=n_slots, mind=scripted(LINE))
    rig = Rig(folder, fake=fake, **settings)
    for name in ("Mara", "Bram"):
        rig.spawn(name.lower(), card={**CARD, "name": name})
    rig.talk("mara")
    rig.rest()
    return rig


def report() -> str:
    """All ways, a line each, and their calls that climb."""
    lines = ["           calls leaving  share upward files"]
    for name, way in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            walk = way(Path(folder))
        lines.append(f"{name:9} {walk.told()}")
        for (here, there, call), n in walk.upward.most_common():
            lines.append(f"{'':9} {n:6} {here} -> {there}: {call}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(report())
