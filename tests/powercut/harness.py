"""Kill an engine at random instants while it saves, and see what is left of everybody.

    python -m tests.powercut --kills 300 --seed 1

Each round is a process that talks, saves, journals and folds (`game`) until it is killed:
by a SIGKILL at a random moment (`time`), by its own before or amid a random call to the disk
(`call`), or so with all that no fsync covers lost, or a part of it (`power`: `crashdisk`). The next
round goes on with what that has left. The disk is sound, fails now and then (`fails`: ENOSPC, EIO,
short writes), or is full (`full`: a small tmpfs, where one can be mounted: Linux, `unshare`).

Exit status 1 if anything is lost. What must hold after each kill:
 1. Every character of every slot, backups too, loads and is whole: a state that it was in.
 2. It is at least as new as what the engine has last called safe there, and what it answered.
 3. In the autosave, of what was said on a sound disk nothing is missing that ended more than a
    second before.
 4. The last reply in it is the one that was spoken.
"""

import argparse
import contextlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from npc_engine.saving.autosave import AUTOSAVE
from tests.powercut.book import Book
from tests.powercut.game import Plan, run
from tests.powercut.look import Found, Look, apart, ends_within, kill, look_into
from tests.support.crashdisk import Disk
from tests.support.crashfs import Record, read_log

HOWS = ("time", "call", "power")
MOST_S = 2.0  # for a round that never comes to the call at which it is to die
LATE_S = 1.0  # a turn that ended so long ago has to be on the disk
N_ROUNDS = 10  # on one folder, one after the other
N_CUTS = 4  # states of the disk that are looked at beside each power cut
SMALL_DISK = "NPC_POWERCUT_DISK"


@dataclass
class Score:
    """What has come of all rounds so far."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    n_cuts: int = 0
    n_looked: int = 0  # characters
    n_mended: int = 0
    n_lost: int = 0  # kills after which something was
    n_lost_cuts: int = 0
    lost: list[str] = field(default_factory=list)  # of each, what
    late: float = 0.0  # of the turns on a sound disk that are lost, how long ago the oldest ended
    most_turns: int = 0


class Chain:
    """Rounds on one folder, each going on from what the kill before it has left."""

    def __init__(
        self, base: Path, root: Path, dice: random.Random, disk: str, without: str
    ) -> None:
        self._base = base
        self._root = root
        self._dice = dice
        self._disk = disk
        self._without = without
        self._keep = dice.choice((0, 1, 2))
        self._book = Book()
        self._found: Found = {}
        _empty(root)

    def round(self, how: str, score: Score) -> None:
        log = self._base / "log"
        log.write_bytes(b"")
        disk = Disk(self._root, random.Random(self._dice.random()))
        self._kill(self._plan(how, log))
        records = list(read_log(log))
        before = deepcopy(self._book) if how == "power" else self._book
        for record in records:
            self._book.take(record)
        self._root.with_name("ballast").unlink(missing_ok=True)
        if how == "power":
            self._cut_earlier(disk, records, before, score)
            _empty(self._root)
            disk.cut(self._root)
        look = look_into(self._root, self._keep, loads=True)
        score.kills[how, self._disk] += 1
        score.n_mended += look.n_mended
        self._judge(self._book, look, score, is_cut=False)
        self._found = look.found
        self._book.begin(look.found)

    def _plan(self, how: str, log: Path) -> Plan:
        by_call = how == "call" or (how == "power" and self._dice.random() < 0.5)
        in_save = self._dice.random() < 0.7
        most = 40 if in_save else 300
        return Plan(
            root=str(self._root),
            log=str(log),
            seed=self._dice.getrandbits(32),
            number=self._book.last + 100,
            keep=self._keep,
            found={npc: n for npc, (_, n, _) in self._found.get(AUTOSAVE, {}).items()},
            disk=self._disk,
            kill_at=self._dice.randint(1, most) if by_call else None,
            first_save=self._dice.randint(1, 6) if in_save else 0,
            without=self._without,
        )

    def _kill(self, plan: Plan) -> None:
        """Let a round play, and kill it."""

        def play() -> bytes:
            run(plan)
            return b""

        pid, out = apart(play)
        seconds = MOST_S
        if plan.kill_at is None:
            seconds = self._dice.uniform(0, 0.5 if self._dice.random() < 0.93 else 2 * LATE_S)
        by_itself = ends_within(pid, seconds)
        status = kill(pid, out)
        if by_itself and status != -signal.SIGKILL:
            self._book.troubles.append(f"the engine ended with status {status}")

    def _cut_earlier(self, disk: Disk, records: Sequence[Record], book: Book, score: Score) -> None:
        """Play the log; look at some of the states that a cut at an earlier call had left."""
        stops = self._stops(records)
        for i, record in enumerate(records):
            if i in stops:
                folder = self._base / "cut"
                _empty(folder)
                disk.cut(folder)
                look = look_into(folder, self._keep, loads=False)
                score.n_cuts += 1
                self._judge(book, look, score, is_cut=True)
            book.take(record)
            if hasattr(Disk, f"_{record.what}"):
                disk.play(record.what, record.args)

    def _stops(self, records: Sequence[Record]) -> set[int]:
        """Choose calls before which to cut: half of them anywhere, half soon after a swap."""
        n = len(records)
        if not n:
            return set()
        swaps = [i for i, r in enumerate(records) if r.what == "syncdir" and r.args == [""]] or [0]
        near = {self._dice.choice(swaps) + self._dice.randint(1, 5) for _ in range(N_CUTS // 2)}
        return near | {self._dice.randrange(n) for _ in range(N_CUTS - N_CUTS // 2)}

    def _judge(self, book: Book, look: Look, score: Score, is_cut: bool) -> None:
        wrong = list(book.wrong(look))
        when = f"cut {score.n_cuts}" if is_cut else f"kill {sum(score.kills.values())}"
        score.n_looked += sum(map(len, look.found.values()))
        if self._disk == "sound":
            lost = book.lost_turns(look)
            score.late = max([score.late, *lost])
            score.most_turns = max(score.most_turns, len(lost))
            wrong += [f"a turn of {t:.2f} s ago is lost" for t in lost if t > LATE_S]
        score.n_lost += bool(wrong) and not is_cut
        score.n_lost_cuts += bool(wrong) and is_cut
        score.lost += [f"{when}, disk {self._disk}, keep {self._keep}: {text}" for text in wrong]


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def run_all(
    n_kills: int, seed: int, base: Path, small: Path | None, without: str, score: Score
) -> None:
    dice = random.Random(seed)
    disks = ["sound", "fails", *(["full"] if small else [])]
    chain = None
    for i in range(n_kills):
        if i % N_ROUNDS == 0:
            disk = disks[i // N_ROUNDS % len(disks)]
            root = (small if small and disk == "full" else base) / "saves"
            chain = Chain(base, root, random.Random(dice.random()), disk, without)
        assert chain is not None
        chain.round(HOWS[i % len(HOWS)], score)
        if (i + 1) % N_ROUNDS == 0:
            sys.stderr.write(f"{i + 1} of {n_kills} kills, {score.n_lost} lost\n")


def report(score: Score) -> str:
    disks = sorted({disk for _, disk in score.kills})
    lines = [f"{'kills':8}" + "".join(f"{disk:>8}" for disk in disks)]
    for how in HOWS:
        row = "".join(f"{score.kills[how, disk]:8}" for disk in disks)
        lines.append(f"{how:8}{row}")
    n = sum(score.kills.values())
    lines += [
        f"{score.n_looked} characters looked at",
        f"{score.n_mended} leftovers mended by the next start",
        f"of turns that had ended, the oldest that is lost had done so {score.late * 1000:.0f} ms "
        f"before; {score.most_turns} at most are",
        *score.lost[:20],
        f"{score.n_lost} lost of {n} kills, {score.n_lost_cuts} of {score.n_cuts} earlier cuts",
    ]
    return "\n".join(lines)


def in_small_disk(argv: Sequence[str]) -> None:
    """Start anew where a small disk may be mounted; return where none may be."""
    command = ["unshare", "--map-root-user", "--mount"]
    if SMALL_DISK in os.environ or shutil.which("unshare") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]
        if subprocess.run([*command, *mount], capture_output=True).returncode:
            return
        env = {**os.environ, SMALL_DISK: folder}
        again = [*command, sys.executable, "-m", "tests.powercut", *argv]
        with subprocess.Popen(again, env=env) as inner:
            while True:
                with contextlib.suppress(KeyboardInterrupt):  # it has had that, too
                    raise SystemExit(inner.wait())


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", choices=("fsync", "folder fsync"), default="")
    args = parser.parse_args(argv)
    logging.getLogger("npc_engine").setLevel(logging.ERROR)  # that disks fail is known here
    in_small_disk(argv)
    small = Path(os.environ[SMALL_DISK]) if SMALL_DISK in os.environ else None
    if small:
        mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(small)]
        subprocess.run(mount, check=True)
    score = Score()
    with tempfile.TemporaryDirectory() as base, contextlib.suppress(KeyboardInterrupt):
        run_all(args.kills, args.seed, Path(base), small, args.without, score)
    where = "" if small else "No small disk can be mounted here: none was full.\n"
    sys.stdout.write(where + report(score) + "\n")
    return 1 if score.lost else 0
