"""Settings and sampling: every default stated once, with its unit and its meaning.

Owns names, types, ranges and the text of `--help`. It knows no command line and no TOML syntax
beyond the mapping that `tomllib` yields. Unknown names and wrong values raise ConfigError.
"""

import dataclasses
import difflib
import reprlib
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npc_engine.errors import ConfigError

__all__ = [
    "DEFAULT_WINDOW",
    "FLASH_ATTN",
    "KV_TYPES",
    "N_RECENT",
    "ROPE_SCALINGS",
    "SAVE_KV",
    "Sampling",
    "Settings",
    "read_toml",
]

KV_TYPES = ("auto", "f16", "bf16", "q8_0", "q8_0/f16", "q4_0", "f32")
"""KV cache types; `a/b` is K in a, V in b. A quantized V needs flash attention (llama.cpp)."""

DEFAULT_WINDOW = 2048
"""Tokens that a character holds where nothing else is asked and the model can do as much."""

FLASH_ATTN = ("auto", "on", "off")

ROPE_SCALINGS = ("auto", "none", "linear", "yarn")
"""What `--rope-scaling` takes; auto is what the GGUF says."""

SAVE_KV = ("auto", "yes", "no")

N_RECENT = 256
"""Tokens of a character's last replies that its samplers know: what DRY looks back at."""

LOG_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warning": 30, "error": 40}
"""Names, and their numbers in `logging`. `trace` adds llama.cpp's own lines, of every tensor."""

MAX_QUOTED = 200
"""Characters of a bad value that an error repeats; a name longer than that is like no other."""

MAX_STOPS, MAX_STOP_CHARS = 64, 256  # each token of a reply is held against all of them

Parse = Callable[[str, object], Any]


def _number(
    kind: type[int] | type[float],
    low: float,
    high: float,
    *,
    written: bool = False,
    auto: bool = False,
) -> Parse:
    """Numbers as the wire has them; `written`: as people write them, too; `auto`: or None."""
    kinds = (int,) if kind is int else (int, float)

    def parse(name: str, value: object) -> int | float | None:
        if auto and (value is None or value == "auto"):
            return None
        number = _as_written(kind, value) if written else value
        bounds = f"from {low:,} to {high:,}"
        if isinstance(number, bool) or not isinstance(number, kinds):
            what = "a whole number" if kind is int else "a number"
            what = f"auto, or {what}" if auto else what
            raise ConfigError(f"{name} is {_quote(value)}.", f"Give {what} {bounds}.")
        if not low <= number <= high:
            raise ConfigError(f"{name} is {_quote(value)}.", f"It must be {bounds}.")
        return kind(number)

    return parse


def _quote(value: object) -> str:
    """Return what a value looks like, shortened: it may be a megabyte that came over the wire."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = MAX_QUOTED
    return short.repr(value)


def _as_written(kind: type[int] | type[float], value: object) -> object:
    """Return the number that a text (every flag is one) or 4.0 stands for, else the value."""
    with suppress(ValueError):
        if isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
            return kind(value)
    return value


def _written(
    kind: type[int] | type[float], low: float, high: float, *, auto: bool = False
) -> Parse:
    return _number(kind, low, high, written=True, auto=auto)


def _or_none(parse: Parse) -> Parse:
    """Let None stand for itself."""

    def parse_none(name: str, value: object) -> Any:
        return None if value is None else parse(name, value)

    return parse_none


def _off_or(parse: Parse) -> Parse:
    """Let 0 stand for itself."""

    def parse_off(name: str, value: object) -> Any:
        off = not isinstance(value, bool) and _as_written(float, value) == 0
        return 0.0 if off else parse(name, value)

    return parse_off


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{name} is {_quote(value)}.", "Give a text.")
    return value


def _choice(*allowed: str) -> Parse:
    def parse(name: str, value: object) -> str:
        if value not in allowed:
            raise ConfigError(
                f"{name} is {_quote(value)}.", f"It must be one of {', '.join(allowed)}."
            )
        return str(value)

    return parse


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {_quote(value)}.", "It must be true or false.")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{name} is {_quote(value)}.", "Give a list of texts.")
    if any("\ud800" <= c <= "\udfff" for text in value for c in text[: MAX_STOP_CHARS + 1]):
        raise ConfigError(f"{name} is {_quote(value)}.", "Give valid text: no lone surrogates.")
    longest = max(map(len, value), default=0)
    if len(value) > MAX_STOPS or longest > MAX_STOP_CHARS:
        raise ConfigError(
            f"{name} has {len(value)} texts, the longest of {longest} characters.",
            f"Give at most {MAX_STOPS} texts of at most {MAX_STOP_CHARS} characters each.",
        )
    return tuple(value)


def _seed(name: str, value: object) -> int | None:
    """A seed or None. Elsewhere -1 or "random" is any; here the game draws it, and may keep it."""
    try:
        number: int | None = _or_none(_number(int, 0, 2**32 - 1))(name, value)
    except ConfigError as error:
        vary = "For variety send a random number in each new game."
        raise ConfigError(f"{error.message} {vary}", error.help) from None
    return number


def _setting(default: Any, parse: Parse, help: str, metavar: str = "") -> Any:  # noqa: A002
    return field(default=default, metadata={"parse": parse, "help": help, "metavar": metavar})


def _build(cls: type[Any], values: Mapping[str, object], unknown: str) -> Any:
    """Return `cls(**values)` with each value parsed; unknown names raise ConfigError."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    parsed = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in fields:
            close = difflib.get_close_matches(name[:MAX_QUOTED], fields, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(fields)}."
            raise ConfigError(f"{unknown} {_quote(key)}.", hint)
        parsed[name] = fields[name].metadata["parse"](name, value)
    return cls(**parsed)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Applied in this order; the defaults suit small models."""

    top_k: int = _setting(40, _number(int, 0, 1000), "keep the k likeliest tokens (0 = all)")
    repeat_penalty: float = _setting(
        1.1, _number(float, 0.1, 10), "divide the logits of recent tokens by this (1 = off)"
    )
    repeat_last_n: int = _setting(64, _number(int, 0, 4096), "how many recent tokens that means")
    frequency_penalty: float = _setting(0.0, _number(float, -10, 10), "0 = off")
    presence_penalty: float = _setting(0.0, _number(float, -10, 10), "0 = off")
    dry: float = _setting(
        0.8, _number(float, 0, 10), "against saying a whole phrase again word for word (0 = off)"
    )
    top_p: float = _setting(0.95, _number(float, 0, 1), "nucleus sampling (1 = off)")
    min_p: float = _setting(0.05, _number(float, 0, 1), "relative to the likeliest token (0 = off)")
    temperature: float = _setting(0.7, _number(float, 0, 10), "0 = always the likeliest token")
    seed: int | None = _setting(
        None, _seed, "same seed, same words; random for each game: variety (default: from the name)"
    )
    stop: tuple[str, ...] = _setting((), _texts, "texts that end a reply")

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "Sampling":
        """Return the Sampling that a `sampling` map of the wire states; raises ConfigError."""
        sampling: Sampling = _build(cls, values, "sampling has no setting")
        return sampling


@dataclass(frozen=True)
class Settings:
    """Everything `npc-engine serve` can be told. `None` stands for "auto"."""

    model: str = _setting("", _text, "the GGUF model to serve", "FILE")
    bind: str = _setting(
        "tcp://127.0.0.1:5757",
        _text,
        "ZeroMQ endpoint, tcp:// or ipc://; port 0 takes any free port and prints it",
        "ENDPOINT",
    )
    window: int | None = _setting(
        None,
        _written(int, 128, 1 << 20, auto=True),
        f"tokens a character may hold, persona and pins included (auto: {DEFAULT_WINDOW}, or what "
        "the model can do)",
        "TOKENS",
    )
    n_ctx: int | None = _setting(
        None,
        _written(int, 128, 1 << 24, auto=True),
        "most KV cells in all; fewer make the window smaller (auto: slots x window)",
        "N",
    )
    slots: int = _setting(
        8, _written(int, 1, 64), "characters in the KV cache at once; others are parked", "N"
    )
    park_ram: int | None = _setting(
        None,
        _written(int, 0, 1 << 20, auto=True),
        "RAM for parked characters; beyond it they are parked on disk (auto: a quarter of what is "
        "free at the start, at most 2048)",
        "auto|MB",
    )
    threads: int | None = _setting(
        None,
        _written(int, 1, 256, auto=True),
        "CPU threads (auto: from physical cores less one, moved by what is measured while it "
        "speaks; fewer when a game is busy)",
        "auto|N",
    )
    nice: int = _setting(
        5,
        _written(int, 0, 19),
        "how far the server stands behind the game: 0 as any program, 19 only what is left. 5: a "
        "frame goes first, and beside a game that takes every core a third is left for speech. "
        "Windows has three steps: 0, 1-14, 15-19",
        "N",
    )
    kv_type: str = _setting(
        "auto", _choice(*KV_TYPES), "KV cache type (auto: the fastest, measured once)"
    )
    flash_attn: str = _setting(
        "auto", _choice(*FLASH_ATTN), "flash attention (auto: measured once)"
    )
    rope_scaling: str = _setting(
        "auto",
        _choice(*ROPE_SCALINGS),
        "how positions are stretched for a window beyond the model's training "
        "(auto: as the model file says)",
    )
    rope_freq_scale: float | None = _setting(
        None,
        _written(float, 0.001, 1, auto=True),
        "by what positions are multiplied: 0.5 makes twice as many "
        "(auto: just enough for the window)",
        "X",
    )
    n_gpu_layers: int = _setting(0, _written(int, -1, 1000), "layers on the GPU (-1 = all)", "N")
    world: str = _setting(
        "",
        _text,
        "lore and rules that every character knows, as a text file; read once for all of them",
        "FILE",
    )
    saves: str = _setting("saves", _text, "folder of the save slots", "DIR")
    keep: int = _setting(
        1,
        _written(int, 0, 99),
        "backups of each slot: SLOT.bak is the save before, SLOT.bak2 the one before that (0 = "
        "none)",
        "N",
    )
    save_kv: str = _setting(
        "auto",
        _choice(*SAVE_KV),
        "whether saves have the KV cache in them, so that nothing is read again (auto: not of a "
        "character that this machine reads again within 300 ms)",
    )
    autosave: float = _setting(
        0.0,
        _off_or(_written(float, 5, 86_400)),
        "journal everybody into the slot `autosave`, and fold the journals this often (0 = off)",
        "SECONDS",
    )
    token: str = _setting("", _text, "per-launch secret that clients must say hello with", "TOKEN")
    token_stdin: bool = _setting(False, _flag, "read the token from the first line of stdin")
    exit_on_stdin_eof: bool = _setting(
        False, _flag, "leave when stdin closes (when the game that started the engine ends)"
    )
    log_level: str = _setting("info", _choice(*LOG_LEVELS), "what is logged to stderr")
    max_tokens: int = _setting(
        256, _written(int, 1, 1 << 16), "longest reply, where `say` gives no max_tokens", "TOKENS"
    )
    max_queue: int = _setting(
        8, _written(int, 1, 1024), "says that may wait for one character before `busy`", "N"
    )
    max_events: int = _setting(
        64, _written(int, 1, 1 << 16), "unread events of one character; the newest are kept", "N"
    )
    max_open_requests: int = _setting(
        64, _written(int, 1, 4096), "open requests of one client before `busy`", "N"
    )
    max_npcs: int = _setting(1024, _written(int, 1, 1 << 16), "characters spawned at once", "N")
    max_message_bytes: int = _setting(
        1 << 20, _written(int, 1024, 1 << 28), "longest frame accepted", "BYTES"
    )
    max_outbox: int = _setting(
        4096, _written(int, 16, 1 << 20), "replies kept for a client that does not read", "N"
    )
    step_ms: float = _setting(
        50.0,
        _written(float, 1, 10_000),
        "time a step may take while somebody speaks; prefill chunks are sized to it",
        "MS",
    )
    ambient_share: float = _setting(
        0.5,
        _written(float, 0.05, 1),
        "most of the time that ambient speech may take while nothing else is to do; the player's "
        "lines and those near never wait for it (1 = no limit)",
        "X",
    )
    n_batch: int = _setting(512, _written(int, 32, 8192), "most tokens in one decode call", "N")

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "Settings":
        """Return the Settings that a mapping states; raises ConfigError."""
        settings: Settings = _build(cls, values, "There is no setting")
        return settings


def read_toml(path: Path) -> dict[str, object]:
    """Return a settings file as a mapping; raises ConfigError with file and line."""
    try:
        with path.open("rb") as f:
            return tomllib.load(f)
    except OSError as e:
        raise ConfigError(
            f"The settings file {str(path)!r} cannot be read: {e.strerror}.", "Check the path."
        ) from None
    except (ValueError, RecursionError) as e:  # a bad name, no UTF-8, no TOML, endless numbers
        raise ConfigError(
            f"The settings file {str(path)!r} is no TOML: {e}.", "Mend that line."
        ) from None
