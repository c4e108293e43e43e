"""The flags of a measurement: what each is and may be, and the command that was given, in words.

Owns how values are checked and how a wrong one is told. It knows no measurement.
"""

import argparse
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npc_engine.errors import ConfigError

__all__ = ["Flag", "add_flags", "add_out", "check", "in_words", "names", "numbers", "threads"]

IN_RANGE = "Each must be from {} to {:,}."


@dataclass(frozen=True)
class Flag:
    """One flag. What has a `least` is a number; one without `most` may be as large as you like."""

    name: str
    default: float | str | None
    about: str
    least: int | None = None
    most: int | None = None
    metavar: str = "N"
    required: bool = False

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Add it; its help ends with the default, unless that is told already."""
        told = "" if self.default is None or "(default" in self.about else _short(self.default)
        parser.add_argument(
            f"--{self.name}",
            metavar=self.metavar,
            type=self._type,
            default=self.default,
            required=self.required,
            help=self.about + (f" (default: {told})" if told else ""),
        )

    @property
    def _type(self) -> type:
        if self.default is not None:
            return type(self.default)
        return str if self.least is None else int

    def check(self, value: Any) -> None:
        """Raise ConfigError for a value out of range; seconds must be above the least."""
        if self.least is None or value is None:
            return
        if self.most is None:
            fits, must = value >= self.least, f"Give {self.least} or more."
        elif isinstance(value, float):
            fits = self.least < value <= self.most
            must = f"It must be above {self.least}, and at most {self.most}."
        else:
            fits = self.least <= value <= self.most
            must = f"It must be from {self.least} to {self.most:,}."
        if not fits:
            raise ConfigError(f"--{self.name} is {_short(value)}.", must)


def threads(most: int | None = 256) -> Flag:
    """Return the flag that every measurement has."""
    return Flag("threads", None, "CPU threads (default: physical cores less one)", 1, most)


def add_flags(parser: argparse.ArgumentParser, model: str, flags: Iterable[Flag]) -> None:
    """Add --model, whose help is `model`, and the others."""
    for flag in (Flag("model", None, model, metavar="FILE", required=True), *flags):
        flag.add(parser)


def add_out(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --out, a report with a page and a plot beside it, and --no-plot."""
    about = "the report; FILE.md and the plot FILE.png stand beside it"
    Flag("out", default, about, metavar="FILE.json").add(parser)
    parser.add_argument("--no-plot", action="store_true", help="write no plot")


def check(args: argparse.Namespace, flags: Iterable[Flag]) -> None:
    """Raise ConfigError for the first number that is out of range."""
    for flag in flags:
        flag.check(getattr(args, flag.name.replace("-", "_")))


def names(flag: str, text: str, known: Collection[str]) -> list[str]:
    """Return the names of a list with commas, each once. Raises ConfigError for unknown ones."""
    found = [name.strip() for name in text.split(",")]
    for name in found:
        if name not in known:
            raise ConfigError(f"--{flag} has {name!r}.", f"There are: {', '.join(known)}.")
    return list(dict.fromkeys(found))


def numbers(
    flag: str, text: str, give: str, limits: tuple[int, int], must: str = IN_RANGE
) -> list[int]:
    """Return the numbers of a list with commas. `give`, `must`: what the ConfigError advises."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--{flag} is {text!r}.", give) from None
    for n in found:
        if not limits[0] <= n <= limits[1]:
            raise ConfigError(f"--{flag} has {n}.", must.format(*limits))
    return found


def in_words(command: str, given: Mapping[str, Any], flags: Iterable[str]) -> str:
    """Return the command that was given, with the name of the model's file alone."""
    words = ["npc-engine", command, "--model", Path(given["model"]).name]
    for name in flags:
        if (value := given[name.replace("-", "_")]) is not None:
            words += [f"--{name}", _short(value)]
    return " ".join(words)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
