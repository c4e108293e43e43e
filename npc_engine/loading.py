"""From settings to a running engine: model, self-test, KV layout, memory check, chat template.

Owns the order in which a start can fail, and that each failure is one sentence. It knows what
there is to choose; `kv_layout` and `selftest` know how to measure it.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from npc_engine.config import DEFAULT_WINDOW, Settings
from npc_engine.cpu import OthersLoad, n_usable_cores
from npc_engine.dialogue.world import check_world, read_world
from npc_engine.engine import EngineCore
from npc_engine.errors import ConfigError, ModelError
from npc_engine.llama.context import Llama
from npc_engine.llama.kv_layout import choose_layout
from npc_engine.llama.model import Layout, Model, can_offload, system_info
from npc_engine.llama.model_file import n_bytes_of
from npc_engine.llama.rope import Rope, RopeFacts, resolve
from npc_engine.llama.selftest import self_test
from npc_engine.scheduling.threads import Threads
from npc_engine.storage.scratch_folder import remove_leftovers
from npc_engine.text.chat_format import ChatFormat

__all__ = ["chat_format_of", "engine_over", "load_engine", "n_auto_threads", "window_of"]

log = logging.getLogger("npc_engine")

MIN_WINDOW = 128
MIN_PREFILL = 16  # tokens of a batch that are left when all slots speak
RESERVE_BYTES = 256 << 20  # left for compute buffers, Python and the game when memory is tight


def load_engine(settings: Settings, progress: Callable[[float], None] | None = None) -> EngineCore:
    """Return an engine over `settings.model`, which frees the model when it is closed.

    Raises SetupError.
    """
    if not settings.model:
        raise ConfigError("No model is given.", "Use --model FILE.gguf.")
    remove_leftovers()
    path = Path(settings.model)
    world = read_world(settings.world)
    _check_room_for_weights(path)
    tested = self_test(path)
    model = Model(
        path,
        n_gpu_layers=settings.n_gpu_layers,
        extra_bufts=tested.works,
        progress=progress,
    )
    model.slow = tested.slow
    try:
        chat_format = chat_format_of(model, world)
        engine = engine_over(_context(model, settings), chat_format, settings)
        check_world(chat_format, engine.stage.window)
        return engine
    except BaseException:
        model.close()
        raise


def engine_over(llama: Llama, chat_format: ChatFormat, settings: Settings) -> EngineCore:
    """Return an engine over a context; without `settings.threads` it moves their number itself."""
    if settings.threads is not None:
        return EngineCore(llama, chat_format, settings)
    most = n_usable_cores() if _threads_sleep() else 1
    load = OthersLoad(time.perf_counter)
    return EngineCore(
        llama, chat_format, settings, threads=Threads(llama.n_threads, most), load=load
    )


def _context(model: Model, settings: Settings) -> Llama:
    """The llama_context that the settings ask for, in the layout that is fastest here."""
    if settings.n_gpu_layers and not can_offload():
        log.warning("--n-gpu-layers is ignored: this build of llama.cpp uses the CPU alone.")
    n_threads = _n_threads(settings)
    rope = resolve(
        model.rope,
        settings.rope_scaling,
        settings.rope_freq_scale,
        settings.window or DEFAULT_WINDOW,
    )
    window = window_of(settings, rope, model.rope)
    layout = choose_layout(model, settings.kv_type, settings.flash_attn, n_threads)
    # Whoever speaks has a row in each batch; there must be room for prefill beside them.
    n_batch = max(settings.n_batch, settings.slots + MIN_PREFILL)
    _check_memory(model, layout, window, settings.slots, n_batch)
    llama = Llama(
        model,
        n_slots=settings.slots,
        n_cells=window,
        n_batch=n_batch,
        n_threads=n_threads,
        layout=layout,
        rope=rope,
        owns_model=True,
    )
    log.info(
        "KV cache: %s; %s; %d threads; memory policy: %s", layout, rope, n_threads, model.policy
    )
    return llama


def _n_threads(settings: Settings) -> int:
    n_threads, n_cores = settings.threads or n_auto_threads(), psutil.cpu_count()
    if n_cores is not None and n_threads > n_cores:
        log.warning("--threads %d: this machine has %d cores; more is slower.", n_threads, n_cores)
    return n_threads


def chat_format_of(model: Model, world: str = "") -> ChatFormat:
    """Return how this model writes a chat in which all know `world`; its notice is logged.

    The model knows then what ends its replies, too.
    """
    chat_format = ChatFormat.of(model, world)
    if chat_format.notice:
        log.warning("%s", chat_format.notice)
    model.eog = chat_format.ends
    return chat_format


voice_of = chat_format_of  # its name of before: scripts that look inside know it


def n_auto_threads() -> int:
    """Physical cores less one, at least one; one where the build's waiting threads would spin.

    It is where auto begins: `threads` moves it.
    """
    return max(1, n_usable_cores() - 1) if _threads_sleep() else 1


def _threads_sleep() -> bool:
    """Whether threads of this build wait without taking a core."""
    return "OPENMP = 1" in system_info()


def window_of(settings: Settings, rope: Rope, facts: RopeFacts) -> int:
    """Return the tokens that a character may hold: what is asked, within what there is.

    Raises ConfigError for a window beyond the model's positions, and when `n_ctx` leaves a slot
    too few cells to talk.
    """
    window = settings.window or min(DEFAULT_WINDOW, rope.n_pos)
    if window > rope.n_pos:
        # Rounded down: a little more room than the window needs.
        scale = int(1000 * facts.n_ctx_orig / window) / 1000
        stretch = f"--rope-scaling linear --rope-freq-scale {scale:g}"
        raise ConfigError(
            f"The window is {window} tokens, persona and pins included; this model can do "
            f"{rope.n_pos} ({rope}).",
            f"Give --window {rope.n_pos} or less"
            + (f", or stretch its positions, which costs quality: {stretch}." if scale else "."),
        )
    cells = window if settings.n_ctx is None else settings.n_ctx // settings.slots
    if cells < min(window, MIN_WINDOW):
        raise ConfigError(
            f"n_ctx is {settings.n_ctx}: {settings.slots} slots get {cells} cells each.",
            f"Give --n-ctx {settings.slots * window}, or fewer --slots.",
        )
    if cells < window:
        log.warning("The window is %d tokens: --n-ctx has no more cells for a slot.", cells)
    return min(window, cells)


def _check_room_for_weights(path: Path) -> None:
    """Refuse a model that would make the machine swap, before it is read."""
    try:
        need = n_bytes_of(path)
    except (OSError, ValueError):
        return  # the Model says it better
    free = psutil.virtual_memory().available
    if need + RESERVE_BYTES > free:
        raise ModelError(
            f"The model {path.name!r} needs {need >> 20} MiB; {free >> 20} MiB are free.",
            "Use a smaller model or quantization, or close other programs.",
        )


def _check_memory(model: Model, layout: Layout, window: int, slots: int, n_batch: int) -> None:
    """Refuse a cache that would make the machine swap. The weights are in memory already."""
    need = model.kv_bytes_per_token(layout) * window * slots
    if not layout.flash_attn:  # all attention scores of a batch at once, in float32
        need += 4 * model.n_head * window * n_batch
    free = psutil.virtual_memory().available
    if need + RESERVE_BYTES > free:
        raise ModelError(
            f"The KV cache of {slots} slots x {window} tokens needs {need >> 20} MiB; "
            f"{free >> 20} MiB are free.",
            "Give fewer --slots, a smaller --window, --kv-type q8_0, or use a smaller model.",
        )
