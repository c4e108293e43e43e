"""Would another quantization, made from a model's own file, be faster on this CPU and no worse?

Owns the trial: the files, made for it and removed; speeds, in turns; perplexity where it matters.
`quantization` judges the figures, `measurements` keeps them. It knows no model by name.

A file that was quantized loses a second time when it is quantized again, and how much nobody can
tell from its name: Q4_0 made from Q4_1 has a perplexity a sixth higher. So it is measured.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import psutil

from npc_engine.cards.examples import example_card, example_names
from npc_engine.cards.small_talk import lines
from npc_engine.cli.doctor.quantization import (
    Figures,
    Verdict,
    is_clearly_faster,
    judge,
    name_of,
    number_of,
)
from npc_engine.cpu import BUSY, Watch, others_are_busy
from npc_engine.errors import NpcError
from npc_engine.llama.context import Llama, Span
from npc_engine.llama.measurements import cpu_name, keep, recall
from npc_engine.llama.model import Model, build_id, quantize
from npc_engine.llama.model_file import fitted
from npc_engine.storage.scratch_folder import ScratchFolder

__all__ = ["try_types", "write_fitted"]

log = logging.getLogger("npc_engine")

KIND = "quantization"
MAX_BYTES = 512 << 20  # of a larger file all this would take minutes
RESERVE_BYTES = 512 << 20
N_CHUNK = 512
N_TEXT = 1024  # tokens; the error of a difference in perplexity is then a percent or two at most
N_LINE, N_SPOKEN = 30, 16
MIN_ROUNDS, MAX_ROUNDS, BUDGET_S = 3, 7, 6.0

_Time = Annotated[float, msgspec.Meta(ge=0, le=1 << 33)]


class _Kept(msgspec.Struct, frozen=True):
    """What a trial has brought, by a type's name; how busy others were, and when it was."""

    figures: dict[str, Figures]
    busy: float | None
    at: _Time

    @property
    def is_quiet(self) -> bool:
        return self.busy is None or self.busy <= BUSY


def write_fitted(path: Path, best: str | None) -> None:
    """Write `fitted(path)` in the type `best`, whole or not at all; for None there is to be none.

    Raises OSError.
    """
    into = fitted(path)
    if best is None:
        into.unlink(missing_ok=True)
        return
    temporary = into.with_name(into.name + ".tmp")
    try:
        if not quantize(path, temporary, number_of(best)):
            raise OSError(f"{path.name} cannot be made {best}: the disk may be full")
        temporary.replace(into)
    finally:
        temporary.unlink(missing_ok=True)


def try_types(
    path: Path,
    names: Sequence[str],
    n_threads: int,
    *,
    extra_bufts: bool,
    say: Callable[[str], None] = lambda _text: None,
) -> Verdict | None:
    """Try a model in other quantizations; None where that cannot be done, or would take minutes.

    Takes half a minute; the figures are kept, and taken again on a quiet machine if this one was
    busy.
    """
    model = None
    try:
        model = Model(path, extra_bufts=extra_bufts)
        return _tried(model, names, n_threads, say) if _may_try(model) else None
    except (NpcError, OSError) as e:
        log.debug("no trial of quantizations: %s", e)
        return None
    finally:
        if model is not None:
            model.close()


def _may_try(model: Model) -> bool:
    n_bytes = model.file.n_bytes
    enough = psutil.virtual_memory().available > 4 * n_bytes + RESERVE_BYTES
    return len(model.file.parts) == 1 and n_bytes <= MAX_BYTES and enough


def _tried(
    model: Model, names: Sequence[str], n_threads: int, say: Callable[[str], None]
) -> Verdict:
    own = name_of(model.meta("general.file_type"))
    names = [name for name in names if name != own]
    key = _key(model, names, n_threads)
    kept = _kept(recall(KIND, key), own)
    if kept is None or not (kept.is_quiet or others_are_busy()):
        say(f"Trying it as {', '.join(names)} ...")
        new = _measure(model, own, names, n_threads)
        if kept is None or new.is_quiet:
            kept = new
            keep(KIND, key, msgspec.to_builtins(kept))
    return judge(own, kept.figures)


def _key(model: Model, names: Sequence[str], n_threads: int) -> str:
    how = f"{n_threads} threads, extra {model.extra_bufts}"
    return " | ".join((model.fingerprint(), build_id(), cpu_name(), how, " ".join(names)))


def _kept(value: object, own: str) -> _Kept | None:
    try:
        kept = msgspec.convert(value, _Kept)
    except msgspec.ValidationError:
        return None
    return kept if own in kept.figures else None


def _measure(model: Model, own: str, names: Sequence[str], n_threads: int) -> _Kept:
    watch = Watch()
    with _made(model, names) as others:
        models = {own: model, **others}
        speeds = _speeds(models, n_threads)
        figures = {name: Figures(*speeds[name]) for name in models}
        busy = watch.busy()
        faster = [n for n in others if is_clearly_faster(figures[n], figures[own])]
        for name in [own, *faster] if faster else []:
            nats = _nats(models[name], n_threads)
            figures[name] = msgspec.structs.replace(figures[name], nats=nats)
    return _Kept(figures, busy, time.time())


@contextmanager
def _made(model: Model, names: Sequence[str]) -> Iterator[dict[str, Model]]:
    """The model in other types, as far as llama.cpp can make them; gone afterwards."""
    with ExitStack() as stack:
        scratch = ScratchFolder()
        stack.callback(scratch.close)
        made = {}
        for name in names:
            path = scratch.new_file()
            if not scratch.has_room(2 * model.file.n_bytes):
                raise OSError(
                    f"no room in {path.parent}"
                )  # there may be next time: nothing is kept
            if quantize(model.path, path, number_of(name)):
                made[name] = Model(path, extra_bufts=model.extra_bufts)
                stack.callback(made[name].close)
        yield made


def _speeds(models: dict[str, Model], n_threads: int) -> dict[str, tuple[float, float]]:
    """Return tokens per second, read and spoken, of each model: in turns, one line each."""
    with ExitStack() as stack:
        llamas = {}
        for name, model in models.items():
            llamas[name] = Llama(model, n_cells=4 * N_LINE, n_batch=N_LINE, n_threads=n_threads)
            stack.callback(llamas[name].close)
            _line(llamas[name])  # brings the weights in
        rounds: list[list[tuple[float, float]]] = []
        began = time.perf_counter()
        while len(rounds) < MIN_ROUNDS or (
            len(rounds) < MAX_ROUNDS and time.perf_counter() - began < BUDGET_S
        ):
            rounds.append([_line(llama) for llama in llamas.values()])
    columns = zip(*rounds, strict=True)
    return {
        name: (N_LINE / _usual(column, rounds, 0), N_SPOKEN / _usual(column, rounds, 1))
        for name, column in zip(models, columns, strict=True)
    }


def _usual(
    column: Sequence[tuple[float, float]], rounds: Sequence[Sequence[tuple[float, float]]], i: int
) -> float:
    """The usual seconds of one: its median share of a round, of the median round."""
    totals = [sum(one[i] for one in row) for row in rounds]
    shares = [one[i] / total for one, total in zip(column, totals, strict=True)]
    return median(shares) * median(totals)


def _line(llama: Llama) -> tuple[float, float]:
    """Read a line and speak; return the seconds of each."""
    llama.remove(0, 0, -1)
    n_vocab = llama.model.n_vocab
    tokens = [997 * (i + 1) % n_vocab for i in range(N_LINE + N_SPOKEN)]
    began = time.perf_counter()
    llama.decode([Span(0, 0, tokens[:N_LINE], True)])
    read = time.perf_counter()
    for i in range(N_LINE, N_LINE + N_SPOKEN):
        llama.decode([Span(0, i, tokens[i : i + 1], True)])
    return read - began, time.perf_counter() - read


def _nats(model: Model, n_threads: int) -> float:
    """Return the mean negative log likelihood of a token of our own characters' texts."""
    text = model.tokenize(_prose())[: N_TEXT + 1]
    llama = Llama(model, n_cells=N_CHUNK, n_batch=N_CHUNK, n_threads=n_threads, n_outputs=N_CHUNK)
    total = 0.0
    try:
        for first in range(0, len(text) - 1, N_CHUNK):
            part = text[first : min(first + N_CHUNK, len(text) - 1)]
            llama.remove(0, 0, -1)
            llama.decode([Span(0, 0, part, True)], every=True)
            total += sum(llama.surprise(i, text[first + i + 1]) for i in range(len(part)))
    finally:
        llama.close()
    return total / (len(text) - 1)


def _prose() -> str:
    cards = [example_card(name) for name in example_names()]
    texts = [f"{card.persona()}\n{card.greeting(user='Player')}" for card in cards]
    return "\n".join([*texts, *lines(24)])
