"""Settings as command-line flags: `config.Settings` states them once, this shows them in groups.

Owns how a flag is spelled and explained, and who wins: flag, environment, settings file, default;
and the flags that several commands share. It knows no subcommand.
"""

import argparse
import dataclasses
import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from npc_engine.config import (
    FLASH_ATTN,
    KV_TYPES,
    LOG_LEVELS,
    ROPE_SCALINGS,
    SAVE_KV,
    Settings,
    read_toml,
)
from npc_engine.errors import ConfigError

__all__ = [
    *("CONNECT_S", "GROUPS", "TOKEN_VARIABLE", "add_settings", "add_token", "as_flags", "given"),
    *("seconds", "settings_from", "token_from"),
]

TOKEN_VARIABLE = "NPC_ENGINE_TOKEN"  # noqa: S105
CONNECT_S = 3.0  # an engine that runs answers at once, unless it is amid a long step

GROUPS: Mapping[str, tuple[str, ...]] = {
    "model and memory": (
        *("model", "window", "slots", "park_ram", "n_ctx", "kv_type", "flash_attn"),
        *("n_gpu_layers", "rope_scaling", "rope_freq_scale", "n_batch", "world"),
        *("saves", "keep", "save_kv", "autosave"),
    ),
    "speed": ("threads", "nice", "step_ms", "ambient_share", "max_tokens"),
    "network": ("bind", "token", "token_stdin"),
    "limits": (
        *("max_npcs", "max_queue", "max_events", "max_open_requests", "max_message_bytes"),
        "max_outbox",
    ),
    "process": ("exit_on_stdin_eof", "log_level"),
}
_CHOICES = {
    "kv_type": KV_TYPES,
    "flash_attn": FLASH_ATTN,
    "save_kv": SAVE_KV,
    "rope_scaling": ROPE_SCALINGS,
    "log_level": LOG_LEVELS,
}
_UNITS = {"TOKENS": " tokens", "MS": " ms", "BYTES": " bytes"}
_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def add_settings(
    parser: argparse.ArgumentParser,
    only: Collection[str] = tuple(_FIELDS),
    defaults: Mapping[str, str] | None = None,
) -> None:
    """Add a flag for each setting, in groups. Values stay text; `settings_from` checks them.

    `defaults` are what a command takes in the place of a setting's own default, in words.
    """
    for title, names in GROUPS.items():
        wanted = [name for name in names if name in only]
        group = parser.add_argument_group(title) if wanted else parser
        for name in wanted:
            _add(group, _FIELDS[name], (defaults or {}).get(name, ""))


def given(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    values = {name: getattr(args, name, None) for name in _FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def settings_from(args: argparse.Namespace) -> Settings:
    """Return the settings of a command line; raises ConfigError.

    A flag wins over NPC_ENGINE_TOKEN, which wins over the file of --config.
    """
    file = getattr(args, "config", None)
    values: dict[str, object] = _checked(Path(file)) if file else {}
    values = {name.replace("-", "_"): value for name, value in values.items()}
    if os.environ.get(TOKEN_VARIABLE):
        values["token"] = os.environ[TOKEN_VARIABLE]
    return Settings.parse(values | given(args))


def _checked(path: Path) -> dict[str, object]:
    """Return a settings file as a mapping; raises ConfigError that names the file."""
    values = read_toml(path)
    try:
        Settings.parse(values)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error.message}", error.help) from None
    return values


def as_flags(values: Mapping[str, Any], leave_out: Collection[str] = ()) -> list[str]:
    """Return settings as the arguments that state them."""
    flags: list[str] = []
    for name, value in values.items():
        if name in leave_out:
            continue
        flag = "--" + name.replace("_", "-")
        flags += [flag] if value is True else [f"{flag}={value}"]
    return flags


def _add(group: argparse._ActionsContainer, field: dataclasses.Field[Any], default: str) -> None:
    flag = "--" + field.name.replace("_", "-")
    default = f" (default: {default})" if default else _default(field)
    text = f"{field.metadata['help']}{default}".replace("%", "%%")
    if isinstance(field.default, bool):
        group.add_argument(flag, action="store_true", default=None, help=text)
    else:
        metavar = field.metadata["metavar"] or "|".join(_CHOICES[field.name])
        group.add_argument(flag, metavar=metavar, help=text)


def _default(field: dataclasses.Field[Any]) -> str:
    """Return the default with its unit, unless the help text says it already."""
    if field.default is None or isinstance(field.default, bool) or field.default == "":
        return ""
    default = f"{field.default:g}" if isinstance(field.default, float) else field.default
    return f" (default: {default}{_UNITS.get(field.metadata['metavar'], '')})"


def seconds(text: str) -> float:
    """Return a time above 0, as argparse reads it."""
    found = float(text)
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time above 0 seconds")
    return found


def add_token(parser: argparse._ActionsContainer) -> None:
    """Add --token."""
    parser.add_argument("--token", metavar="TEXT", help="the engine's token")


def token_from(args: argparse.Namespace) -> str | None:
    """Return the token of a command line, else the environment's; None where there is none."""
    return args.token or os.environ.get(TOKEN_VARIABLE) or None
