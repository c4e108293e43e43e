"""The policies that `bench stream` and `tune sinks` can compare, each with its own llama_context.

Owns their names, what each needs of a model, and why one cannot run. It reads no text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from npc_engine.bench.stream.policies import Pinned, Plan, Reread, Rolling, Whole
from npc_engine.bench.stream.reader import N_SINGLE, Reader
from npc_engine.errors import ConfigError, ModelError
from npc_engine.llama.context import Llama
from npc_engine.llama.model import Layout, Model
from npc_engine.llama.rope import resolve

__all__ = ["POLICIES", "Setup", "check_fit", "open_reader", "parse_policies", "title"]

POLICIES = (
    *("full", "no-sinks", "recompute", "sinks-1", "sinks-2", "sinks-4", "sinks-8"),
    *("ours", "linear"),
)
"""Those of the StreamingLLM experiment; `sinks-K` may have any K."""

_TITLES = {
    "full": "full attention",
    "no-sinks": "window, no sinks",
    "recompute": "window, recomputed",
    "ours": "persona + holes (ours)",
    "linear": "full, linear x 2",
}
_WHOLE = ("full", "linear")
LAYOUT = Layout("f16", "f16", False)


@dataclass(frozen=True)
class Setup:
    """What all policies of a run share. Counts in tokens.

    `n_chunk`: read together; `n_turn`: of ours, evicted together; `n_full`: cells of full
    attention.
    """

    window: int
    n_chunk: int
    n_pinned: int
    n_turn: int
    n_full: int
    n_threads: int

    @property
    def sample(self) -> int:
        """Of so many chunks, recomputation reads one: it then costs about what the others do."""
        return max(1, self.window // self.n_chunk)


def parse_policies(text: str) -> list[str]:
    """Return the names in a list with commas. Raises ConfigError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in POLICIES and _n_sinks(name) is None:
            raise ConfigError(
                f"There is no policy {name!r}.",
                f"Choose from {', '.join(POLICIES)}; sinks-K takes any K.",
            )
    if not names:
        raise ConfigError(f"--policies is {text!r}.", f"Choose from {', '.join(POLICIES)}.")
    return list(dict.fromkeys(names))


def title(name: str) -> str:
    """Return a policy's name for people."""
    n = _n_sinks(name)
    return _TITLES.get(name) or f"{n} sink{'s' * (n != 1)} + window"


def _n_sinks(name: str) -> int | None:
    match = re.fullmatch(r"sinks-(\d{1,6})", name)
    return int(match[1]) if match else 0 if name == "no-sinks" else None


def open_reader(model: Model, name: str, setup: Setup) -> Reader | str:
    """Return a policy ready to read, or why this model cannot run it. Raises ModelError."""
    whole = name in _WHOLE
    rope = None
    if name == "linear":
        if model.rope.scaling not in ("", "none"):
            return f"its positions are scaled already ({model.rope.scaling})"
        try:
            rope = resolve(model.rope, "linear", 0.5, setup.window)
        except ConfigError as error:
            return error.message
    rows = max(setup.n_chunk, N_SINGLE)
    llama = Llama(
        model,
        n_cells=setup.n_full if whole else setup.window,
        n_batch=min(setup.window, 512) if name == "recompute" else rows,
        n_outputs=rows,
        n_threads=setup.n_threads,
        layout=LAYOUT,
        rope=rope,
    )
    if _n_sinks(name) is not None and not llama.can_shift:
        llama.close()
        return "its cached keys cannot be moved exactly"
    plan = _plan(name, setup, llama)
    return Reader(llama, plan, setup.n_chunk, setup.sample)


def _plan(name: str, setup: Setup, llama: Llama) -> Plan:
    n_sinks = _n_sinks(name)
    if n_sinks is not None:
        return Rolling(setup.window, n_sinks)
    if name == "recompute":
        return Reread(setup.window)
    if name == "ours":
        return Pinned(setup.window, llama.n_pos, setup.n_pinned, setup.n_turn, llama.can_shift)
    return Whole(setup.n_full)


def check_fit(model: Model, setup: Setup, names: Sequence[str]) -> None:
    """Raise ModelError or ConfigError for what no policy can do."""
    if model.policy in ("recurrent", "hybrid"):
        raise ModelError(
            f"{model.name!r} ({model.arch}) reads into a {model.policy} state: nothing can be "
            "evicted from it.",
            "Give a model with attention only.",
        )
    sinks = max([_n_sinks(name) or 0 for name in names] + [setup.n_pinned * ("ours" in names)])
    _check_memory(model, setup, names)
    need = sinks + 2 * max(setup.n_chunk, setup.n_turn, N_SINGLE)
    if not need <= setup.window <= model.n_ctx_train:
        raise ConfigError(
            f"The window is {setup.window} tokens.",
            f"With these sinks and chunks it must be from {need} to {model.n_ctx_train}, the "
            "length that this model was trained for.",
        )


def _check_memory(model: Model, setup: Setup, names: Sequence[str]) -> None:
    n_cells = sum(setup.n_full if name in _WHOLE else setup.window for name in names)
    need, free = model.kv_bytes_per_token(LAYOUT) * n_cells, psutil.virtual_memory().available
    if need > free:
        raise ConfigError(
            f"The KV caches of these policies take {need >> 20} MiB; {free >> 20} MiB are free.",
            "Give fewer --policies or --full-tokens.",
        )
