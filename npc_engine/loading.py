"""From settings to a running engine: model, self-test, KV layout, memory check, chat template.

Owns the order in which a start can fail, and that each failure is one sentence. It knows what
there is to choose; `calibrate` and `selftest` know how to measure it.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import psutil

from npc_engine.calibrate import choose_layout
from npc_engine.config import Settings
from npc_engine.engine import Engine
from npc_engine.errors import ConfigError, ModelError
from npc_engine.governor import MIN_CHUNK
from npc_engine.llama import Llama
from npc_engine.llama_model import Layout, Model, system_info
from npc_engine.prompt import probe
from npc_engine.selftest import extra_bufts_work
from npc_engine.voice import Voice

__all__ = ["load_engine", "n_auto_threads", "window_of"]

log = logging.getLogger("npc_engine")

RESERVE_BYTES = 256 << 20  # left for compute buffers, Python and the game when memory is tight


def load_engine(settings: Settings, progress: Callable[[float], None] | None = None) -> Engine:
    """Return an engine over `settings.model`. Raises SetupError."""
    if not settings.model:
        raise ConfigError("No model is given.", "Use --model FILE.gguf.")
    model = Model(
        Path(settings.model),
        n_gpu_layers=settings.n_gpu_layers,
        extra_bufts=extra_bufts_work(Path(settings.model)),
        progress=progress,
    )
    n_threads = settings.threads or n_auto_threads()
    window = window_of(settings, model)
    layout = choose_layout(model, settings.kv_type, settings.flash_attn, n_threads)
    _check_memory(model, layout, window, settings.slots)
    llama = Llama(
        model,
        n_slots=settings.slots,
        n_cells=window,
        # Whoever speaks has a row in each batch; there must be room for prefill beside them.
        n_batch=max(settings.n_batch, settings.slots + MIN_CHUNK),
        n_threads=n_threads,
        layout=layout,
    )
    log.info("KV cache: %s; %d threads; memory policy: %s", layout, n_threads, model.policy)
    return Engine(llama, voice_of(model), settings)


def voice_of(model: Model) -> Voice:
    """Return how this model writes a chat; its notice is logged."""
    bos, eos = model.token_text(model.bos), model.token_text(model.eos)
    pieces = probe(model.chat_template, bos=bos, eos=eos)
    if pieces.notice:
        log.warning("%s", pieces.notice)
    return Voice(model, pieces)


def n_auto_threads() -> int:
    """Physical cores less one, at least one; one where the build's waiting threads would spin."""
    if "OPENMP = 1" not in system_info():
        return 1
    return max(1, (psutil.cpu_count(logical=False) or 2) - 1)


def window_of(settings: Settings, model: Model) -> int:
    """Return the tokens that a character may hold: what is asked, within what the model can do."""
    window = settings.window
    if settings.n_ctx is not None and settings.n_ctx // settings.slots < window:
        raise ConfigError(
            f"n_ctx is {settings.n_ctx}: {settings.slots} slots get "
            f"{settings.n_ctx // settings.slots} cells each, less than the window of {window}.",
            f"Give --n-ctx {settings.slots * window}, fewer --slots, or a smaller --window.",
        )
    if window > model.n_ctx_train:
        log.warning(
            "The window is %d tokens instead of %d: this model was trained for no more.",
            model.n_ctx_train,
            window,
        )
    return min(window, model.n_ctx_train)


def _check_memory(model: Model, layout: Layout, window: int, slots: int) -> None:
    """Refuse what would make the machine swap. The weights are in memory already."""
    need = model.kv_bytes_per_token(layout) * window * slots
    free = psutil.virtual_memory().available
    if need + RESERVE_BYTES > free:
        raise ModelError(
            f"The KV cache of {slots} slots x {window} tokens needs {need >> 20} MiB; "
            f"{free >> 20} MiB are free.",
            "Give fewer --slots, a smaller --window, --kv-type q8_0, or use a smaller model.",
        )
