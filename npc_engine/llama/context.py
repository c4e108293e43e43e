"""llama.cpp's context half: one llama_context and its KV cache.

With `model` and `sampler` the only files that know ctypes and llama_cpp. Owns: decode
a batch, sequence operations, state. Return codes become errors, and arguments are checked before
llama.cpp would abort the process. It knows no characters, no turns and no chat templates.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

# First `model`: it sets the environment that the native library reads when it is loaded.
from npc_engine.llama.model import Layout, Model, clear_why, why  # isort: skip

import llama_cpp
import llama_cpp.llama_cpp as C  # noqa: N812

from npc_engine.config import Sampling
from npc_engine.errors import BackendError, ModelError, NoRoom
from npc_engine.llama.rope import Rope, resolve
from npc_engine.llama.sampler import Sampler

__all__ = ["Llama", "Span"]

_SHIFTABLE = ("f32", "f16", "q8_0")
"""Types of K that a K-shift moves exactly: q4_0 drifts with each shift, and bf16 has no rotation
on the CPU (ggml-cpu/ops.cpp, ggml_compute_forward_rope ends the process)."""

_PARTIAL = 1  # llama.h: LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY

_ROPE_SCALINGS = {"none": 0, "linear": 1, "yarn": 2}  # llama.h: enum llama_rope_scaling_type

# Bytes that nobody has filled yet. A payload has megabytes: to touch as much new memory a second
# time, for a copy of it, takes longer than llama.cpp does.
_new_bytes = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.restype = ctypes.py_object
_new_bytes.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t)

_KV_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}  # ggml.h: enum ggml_type


class Span(NamedTuple):
    """Tokens of one slot for a batch, from position `first` on; `logits`: of the last of them."""

    slot: int
    first: int
    tokens: Sequence[int]
    logits: bool


class Llama:
    """One llama_context over a Model: `n_slots` sequences of at least `n_cells` tokens each.

    The KV cache is split: every slot owns its cells, so that a step scans only those who speak.
    `unified` is for calibration: all slots share their cells, and `merge` costs nothing.
    `n_outputs`: most rows of a batch that may have logits; a row for each slot by default.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_slots: int = 1,
        n_cells: int = 2048,
        n_batch: int = 512,
        n_threads: int = 1,
        layout: Layout | None = None,
        rope: Rope | None = None,
        n_outputs: int | None = None,
        unified: bool = False,
        owns_model: bool = False,
    ) -> None:
        self.model = model
        self.layout = layout or Layout()
        self.rope = rope or resolve(model.rope, "auto", None, n_cells)
        self._unified = unified
        self.n_slots = n_slots
        self.n_batch = n_batch
        self._owns_model = owns_model
        self.n_threads = n_threads
        self.n_pos = self.rope.n_pos
        self._ctx = self._make(n_cells, n_threads, n_outputs or n_slots)
        # llama.cpp lowers it to n_ctx, and ends the process at a batch that is larger.
        self.n_batch = n_batch = min(n_batch, int(C.llama_n_batch(self._ctx)))
        self._memory = C.llama_get_memory(self._ctx)
        self._shifted = False
        self._rows: set[int] = set()
        self._n_swa: int = C.llama_model_n_swa(model.handle)
        self.n_cells: int = C.llama_n_ctx_seq(self._ctx)
        self._tokens = np.zeros(n_batch, np.int32)
        self._positions = np.zeros(n_batch, np.int32)
        self._slots = np.zeros(n_batch, np.int32)
        self._logits = np.zeros(n_batch, np.int8)
        self._batch = self._make_batch(n_batch)

    def _make(self, n_cells: int, n_threads: int, n_outputs: int) -> Any:
        params = C.llama_context_default_params()
        params.n_ctx = self.n_slots * n_cells
        params.n_batch = params.n_ubatch = self.n_batch
        params.n_seq_max = self.n_slots
        params.n_outputs_max = n_outputs
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = _KV_TYPES[self.layout.type_k]
        params.type_v = _KV_TYPES[self.layout.type_v]
        params.flash_attn_type = int(self.layout.flash_attn)
        params.kv_unified = self._unified
        if not self.rope.is_own:
            params.rope_scaling_type = _ROPE_SCALINGS[self.rope.scaling]
            params.rope_freq_scale = self.rope.freq_scale
        # A sliding-window cache that keeps only the window could never be cut back (barge-in);
        # this one can, until it was exported: see `_has_lost`.
        params.swa_full = True
        params.no_perf = True
        clear_why()
        ctx = C.llama_init_from_model(self.model.handle, params)
        if not ctx:
            raise ModelError(
                f"No KV cache of {self.n_slots} x {n_cells} tokens ({self.layout}): {why()}.",
                "Give fewer --slots, a smaller --window, or another --kv-type.",
            )
        return ctx

    def _make_batch(self, n: int) -> Any:
        """A llama_batch over our own arrays: filled by slices, and nothing to free."""
        self._counts = np.ones(n, np.int32)
        addresses = self._slots.ctypes.data + 4 * np.arange(n, dtype=np.uintp)
        self._slot_pointers = addresses.astype(np.uintp)
        batch = C.llama_batch()
        int32 = ctypes.POINTER(ctypes.c_int32)
        batch.token = self._tokens.ctypes.data_as(int32)
        batch.pos = self._positions.ctypes.data_as(int32)
        batch.n_seq_id = self._counts.ctypes.data_as(int32)
        batch.seq_id = self._slot_pointers.ctypes.data_as(ctypes.POINTER(int32))
        batch.logits = self._logits.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
        return batch

    def close(self) -> None:
        """Free the context, and the model if it was handed over with `owns_model`."""
        if self._ctx:
            C.llama_free(self._ctx)
            self._ctx = None
        if self._owns_model:
            self.model.close()

    @cached_property
    def _facts(self) -> dict[str, Any]:
        model = self.model
        fingerprint = model.fingerprint()
        return {
            "model": {
                "name": model.name,
                "arch": model.arch,
                "policy": model.policy,
                "n_params": model.n_params,
                "n_ctx_train": model.n_ctx_train,
                "n_pos": self.n_pos,
                "rope": str(self.rope),
                "renumbering": "shift" if self.can_shift else "reread",
                "fingerprint": fingerprint,
                **({"slow": model.slow} if model.slow else {}),
            },
            "fingerprint": fingerprint,
            "vocab": model.vocab_digest(),
            "n_vocab": model.n_vocab,
            "layout": str(self.layout) if self.rope.is_own else f"{self.layout}, {self.rope}",
            "llama": llama_cpp.__version__,
            "model_bytes": model.n_bytes,
            "kv_bytes": model.kv_bytes_per_token(self.layout) * self.n_cells * self.n_slots,
        }

    @property
    def about(self) -> dict[str, Any]:
        """Facts of the model and the cache, for `welcome`, `stats` and snapshots."""
        return {**self._facts, "n_threads": self.n_threads}

    def set_threads(self, n: int) -> None:
        """Run what is decoded from now on on `n` threads. Costs nothing by itself.

        llama.cpp has a second count for batches of several tokens: ours are mixed, and what suits
        them is measured for each size, so both are the same.
        """
        if n < 1:
            raise BackendError(f"Nothing can be decoded on {n} threads.")
        self.n_threads = n
        C.llama_set_n_threads(self._ctx, n, n)

    def decode(self, spans: Sequence[Span], every: bool = False) -> list[int]:
        """Decode a batch; returns the row of each span's last token, for `sample` and `logits`.

        `every`: logits not of the last row alone, but of every row of a span that wants them.
        Raises NoRoom when a slot is full, BackendError when llama.cpp fails. The cache is then as
        it was, or unknown after a BackendError.
        """
        n = 0
        rows = []
        self._rows.clear()
        for slot, first, tokens, logits in spans:
            last = n + len(tokens)
            if not tokens or last > self.n_batch or not 0 <= slot < self.n_slots or first < 0:
                raise BackendError(
                    f"A batch may not hold {(slot, first, len(tokens))!r} at row {n}."
                )
            self._tokens[n:last] = tokens
            self._positions[n:last] = range(first, first + len(tokens))
            self._slots[n:last] = slot
            self._logits[n:last] = logits and every
            self._logits[last - 1] = logits
            rows.append(last - 1)
            n = last
        self._batch.n_tokens = n
        code = C.llama_decode(self._ctx, self._batch)
        if code == 1:
            raise NoRoom(f"No room for {n} tokens in the KV cache.")
        if code:
            raise BackendError(f"llama_decode failed with code {code} on {n} tokens: {why()}.")
        self._shifted = False  # llama.cpp rotates all cells that moved before it decodes
        self._rows = set(np.flatnonzero(self._logits[:n]).tolist())
        return rows

    def sampler(
        self,
        sampling: Sampling,
        seed: int,
        recent: Sequence[int] = (),
        quotable: Callable[[], Iterable[str]] = tuple,
    ) -> Sampler:
        """Return a sampler for one reply.

        `recent` tokens count for the penalties; what stands in `quotable` texts may be repeated.
        """
        return Sampler(self.model, sampling, seed, recent, quotable)

    def sample(self, row: int, sampler: Sampler, may_end: bool = True) -> int:
        """Choose the next token from the logits of a row of the last batch."""
        if row not in self._rows:
            raise BackendError(f"Row {row} of the last batch has no logits.")
        return sampler.sample(self._ctx, row, may_end)

    def logits(self, row: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
        """Return a copy of a row's logits, float32 of shape (n_vocab,)."""
        if row not in self._rows:
            raise BackendError(f"Row {row} of the last batch has no logits.")
        pointer = C.llama_get_logits_ith(self._ctx, row)
        return np.ctypeslib.as_array(pointer, shape=(self.model.n_vocab,)).copy()

    def surprise(self, row: int, token: int) -> float:
        """Return the negative log likelihood of a token by a row's logits, in nats."""
        logits = self.logits(row)
        top = float(logits.max())
        total = float(np.exp(logits - np.float32(top)).sum(dtype=np.float64))
        return top + float(np.log(total)) - float(logits[token])

    def remove(self, slot: int, first: int, last: int) -> bool:
        """Remove positions [first, last) of a slot, to the end when last is -1.

        False when this kind of memory cannot: a recurrent state does not roll back. It says True
        to a range in the middle, and keeps what it has read all the same.
        """
        if not C.llama_memory_seq_rm(self._memory, slot, first, last):
            return False
        return not self._has_lost(slot, first)

    def _has_lost(self, slot: int, first: int) -> bool:
        """Whether a tail cut to `first` needs cells that a sliding window has let go.

        An exported slot holds only the last n_swa positions of such layers (also with swa_full),
        and cells behind the window are written over when others are needed.
        """
        if not self._n_swa or not first:
            return False
        low, high = self.positions(slot)
        return high < first and (low < 0 or low > max(0, first - self._n_swa))

    @property
    def keeps_states(self) -> bool:
        """Whether there is a recurrent state, which `remove` cannot roll back."""
        return self.model.policy in ("recurrent", "hybrid")

    def copy_state(self, slot: int) -> bytes:
        """Return a slot's recurrent state as bytes, without the KV cache beside it."""
        size = C.llama_state_seq_get_size_ext(self._ctx, slot, _PARTIAL)
        buf = (ctypes.c_uint8 * size)()
        n = C.llama_state_seq_get_data_ext(self._ctx, buf, size, slot, _PARTIAL)
        return bytes(memoryview(buf)[:n])

    def put_state(self, slot: int, state: bytes, end: int) -> int:
        """Go back to a state in which positions below `end` were read, and remove later cells.

        Returns the position to read on from, -1 when it cannot. The state must be of this process:
        llama.cpp checks little of it.
        """
        buf = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        n = C.llama_state_seq_set_data_ext(self._ctx, buf, len(state), slot, _PARTIAL)
        if n != len(state) or not C.llama_memory_seq_rm(self._memory, slot, end, -1):
            return -1
        return self.positions(slot)[1] + 1

    @property
    def can_shift(self) -> bool:
        """Whether `shift` leaves the cache exactly as a fresh reading would."""
        return not self.why_no_shift

    @cached_property
    def why_no_shift(self) -> str:
        """Why cached keys cannot be moved to other positions; "" when they can."""
        if self.model.policy != "full":
            return f"{self.model.policy} memory"
        if not self.rope.rotates_only:
            if self.model.rope.attn_factor != 1:
                return "scaled keys"
            own = self.rope.scaling
            return f"{own} positions" if own != "none" else "no plain RoPE"
        if self.layout.type_k not in _SHIFTABLE:
            return f"keys in {self.layout.type_k}"
        return "" if C.llama_memory_can_shift(self._memory) else "this kind of model"

    def shift(self, slot: int, first: int, last: int, by: int) -> None:
        """Move the cells at positions [first, last) of a slot by `by` positions.

        The next `decode` rotates them, over the whole buffer of all slots: about 10 us a cell.
        """
        if not 0 <= first < last or first + by < 0 or not 0 <= slot < self.n_slots:
            raise BackendError(f"Cells {first} to {last} of slot {slot} cannot move by {by}.")
        C.llama_memory_seq_add(self._memory, slot, first, last, by)
        self._shifted = True

    def positions(self, slot: int) -> tuple[int, int]:
        """Return the lowest and highest position in a slot's cells; (-1, -1) when empty."""
        low = C.llama_memory_seq_pos_min(self._memory, slot)
        return int(low), int(C.llama_memory_seq_pos_max(self._memory, slot))

    def merge(self, source: int, target: int) -> None:
        """Give all cells of slot `source` to slot `target` too, then empty `source`."""
        if not self._unified:
            raise BackendError("Slots can be merged in a unified KV cache only.")
        C.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.remove(source, 0, -1)

    def export(self, slot: int) -> bytes:
        """Return a slot's cells as bytes; none when they cannot be had now."""
        # Copied out before its cells are rotated, it would have keys of other positions.
        if self._shifted and not self.settle(slot):
            return b""
        size = C.llama_state_seq_get_size(self._ctx, slot)
        payload: bytes = _new_bytes(None, size)
        n = C.llama_state_seq_get_data(self._ctx, _buffer(payload), size, slot)
        return payload if n == size else payload[:n]

    def export_size(self, slot: int) -> int:
        """Return how many bytes `export` would; 0 while cells are still to be rotated."""
        return 0 if self._shifted else int(C.llama_state_seq_get_size(self._ctx, slot))

    def settle(self, slot: int) -> bool:
        """Carry out what `shift` announced, by reading one token and taking it back.

        False when there is no room for it, or it fails. Rows of the batch before cannot be
        sampled any more.
        """
        end = self.positions(slot)[1] + 1
        try:
            self.decode([Span(slot, end, [0], False)])
        except BackendError:
            return False
        return self.remove(slot, end, -1)

    def restore(self, slot: int, payload: bytes) -> bool:
        """Fill an empty slot from `export`'s bytes; False when they do not fit this layout."""
        n = C.llama_state_seq_set_data(self._ctx, _buffer(payload), len(payload), slot)
        if 0 < n == len(payload):
            return True
        self.remove(slot, 0, -1)
        return False


def _buffer(data: bytes) -> Any:
    """The bytes themselves as llama.cpp takes them, for as long as somebody holds them."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))
