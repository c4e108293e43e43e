"""A soak in a process of its own: what it holds of memory is then nobody else's.

Owns the child and what comes back through the pipe: samples as they are taken, then what the run
was; or why there was none. A child that dies is a fault of the run.
"""

import logging
import signal
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from npc_engine.bench.soak.figures import Sample
from npc_engine.bench.soak.soak import Soak
from npc_engine.config import Settings
from npc_engine.errors import NpcError, SetupError
from npc_engine.loading import load_engine

__all__ = ["SoakRun", "soak_apart"]

JOIN_S = 30.0


@dataclass
class SoakRun:
    """What a run left: its samples, facts of the model, counters, and what went wrong."""

    samples: list[Sample] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    n_faults: int = 0
    interrupted: bool = False


def soak_apart(settings: Settings, n_tokens: int, show: Callable[[int], None]) -> SoakRun:
    """Soak a model in a child; `show` is called with the tokens so far. Raises SetupError.

    Ctrl-C ends the child, and the run has what it had measured until then.
    """
    run = SoakRun()
    with tempfile.TemporaryDirectory() as saves:  # ours: a child that is killed leaves it
        ours, theirs = get_context("spawn").Pipe()
        args = (theirs, replace(settings, saves=saves), n_tokens)
        child = get_context("spawn").Process(target=_child, args=args)
        child.start()
        theirs.close()
        try:
            while not _take(run, ours):
                if run.samples:
                    show(run.samples[-1].n_tokens)
        except EOFError:
            child.join(JOIN_S)
            run.n_faults += 1
            run.faults.append(f"The process ended with status {child.exitcode}.")
        except KeyboardInterrupt:
            run.interrupted = True
            child.kill()
        finally:
            ours.close()
            child.join(JOIN_S)
    return run


def _take(run: SoakRun, pipe: Connection) -> bool:
    """Take in one record of the child; True at the last. Raises EOFError when it died."""
    kind, value = pipe.recv()
    if kind == "sample":
        run.samples.append(value)
    elif kind == "failed":
        raise SetupError(*value)
    else:
        run.facts, run.faults, run.n_faults = value
    return bool(kind == "end")


def _child(pipe: Connection, settings: Settings, n_tokens: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who started us ends us
    logging.getLogger("npc_engine").setLevel(logging.ERROR)
    try:
        with closing(load_engine(settings)) as engine:
            soak = Soak(engine)
            for sample in soak.run(n_tokens):
                pipe.send(("sample", sample))
            pipe.send(("end", (soak.facts(), soak.client.faults, soak.client.n_faults)))
    except NpcError as error:
        pipe.send(("failed", (error.message, error.help)))
    except BrokenPipeError:
        return  # whoever started us is gone
