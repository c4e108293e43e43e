"""What a chat template makes of values, and how large any of them may be.

Owns the functions in the cage of `sandbox` that multiply what they are given: each is measured
before it is done. It knows no syntax and no budget of work.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from jinja2 import ChainableUndefined, Undefined

__all__ = [
    "FILTERS",
    "MAX_VALUE",
    "Format",
    "Nothing",
    "TemplateError",
    "fits",
    "is_format",
    "join",
    "percent",
    "range_of",
    "refuse",
    "replace",
    "size_of",
]

MAX_VALUE = 1 << 14  # characters, or items of a list, that one value may have


class TemplateError(ValueError):
    """A template cannot be compiled or rendered, or asks for more than it may."""


def refuse(message: object = "the template refuses") -> NoReturn:
    """Raise TemplateError."""
    raise TemplateError(str(message))


class Nothing(ChainableUndefined):
    """What is not there, and empty whatever is done with it."""

    __slots__ = ()

    def __call__(self, *_args: Any, **_kwargs: Any) -> "Nothing":  # type: ignore[override]
        """It is nothing, too."""
        return self

    def _is_not(self, *_other: Any) -> Any:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _is_not


def size_of(value: Any, limit: int) -> int:
    """Return the characters and items of a value of plain types; raise where limit is passed."""
    if isinstance(value, str):
        size = len(value)
    elif isinstance(value, int):
        size = 1 if value.bit_length() <= 256 else limit + 1
    elif value is None or isinstance(value, float | Undefined):
        size = 1
    elif isinstance(value, list | tuple | dict):
        size = len(value)
        fits(size)
        for item in value.items() if isinstance(value, dict) else value:
            size += size_of(item, limit - size)
    else:
        refuse(f"it makes a value of type {type(value).__name__}")
    fits(size, limit)
    return size


def fits(size: int, limit: int = MAX_VALUE) -> None:
    """Refuse a value that would be larger than it may be."""
    if size > limit:
        refuse("it makes a value that is too large")


def range_of(*args: int) -> list[int]:
    """Return the numbers of a range."""
    numbers = range(*args)
    fits(len(numbers))
    return list(numbers)


def is_format(obj: Any, name: Any) -> bool:
    """Whether that is the `format` of a text."""
    return isinstance(obj, str) and isinstance(name, str) and name == "format"


class Format:
    """A text's `format`, for plain fields alone: `{}`, `{0}`, `{name}`, `{:02d}`."""

    _FIELD = re.compile(r"\{\{|\}\}|\{(\w*)(?::([<>^]?0?\d{0,2}(?:\.\d)?[sdf]?))?\}|[{}]")

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, *args: Any, **kwargs: Any) -> str:
        """Return the text with its fields filled."""
        unnamed = iter(args)

        def filled(match: re.Match[str]) -> str:
            name, how = match[1], match[2] or ""
            if name is None and len(match[0]) == 1:
                refuse("it formats a text in a way which no chat template needs")
            if name is None:
                return match[0][0]
            if not name:
                return format(next(unnamed), how)
            return format(args[int(name)] if name.isdigit() else kwargs[name], how)

        return _filled(self._FIELD, self._text, filled)


def percent(text: str, values: Sequence[Any]) -> str:
    """A text formatted by `%`, for `%s` and `%d` alone."""
    unnamed = iter(values)

    def filled(match: re.Match[str]) -> str:
        if match[0] not in ("%s", "%d", "%%"):
            refuse("it formats a text by % in a way which no chat template needs")
        return "%" if match[0] == "%%" else str(next(unnamed))

    return _filled(re.compile("%.?", re.DOTALL), text, filled)


def _filled(fields: re.Pattern[str], text: str, fill: Callable[[re.Match[str]], str]) -> str:
    """Return a text with its fields filled; each is measured before it is added."""
    size, at, parts = 0, 0, []
    for match in fields.finditer(text):
        parts.append(text[at : match.start()] + fill(match))
        at = match.end()
        size += len(parts[-1])
        fits(size)
    return "".join(parts) + text[at:]


def join(value: Any, d: str = "", attribute: str | None = None) -> str:
    """Jinja2's filter."""
    if attribute is not None:
        refuse("it joins an attribute, which no chat template needs")
    items = [str(item) for item in value]
    fits(sum(map(len, items)) + len(str(d)) * len(items))
    return str(d).join(items)


def replace(value: Any, old: str, new: str, count: int = -1) -> str:
    """Jinja2's filter."""
    text, old, new = str(value), str(old), str(new)
    fits(len(text) + len(new) * text.count(old))
    return text.replace(old, new, -1 if count is None else count)


def _indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    lead = width if isinstance(width, str) else " " * min(int(width), MAX_VALUE)
    lines = str(value).split("\n")
    fits(len(str(value)) + len(lead) * len(lines))
    return "\n".join(
        lead + line if (line or blank) and (n or first) else line for n, line in enumerate(lines)
    )


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> list[list[Any]]:
    items, n = list(value), max(1, int(linecount))
    rows = [items[at : at + n] for at in range(0, len(items), n)]
    if rows and fill_with is not None:
        fits(n)
        rows[-1] += [fill_with] * (n - len(rows[-1]))
    return rows


def _center(value: Any, width: int = 80) -> str:
    fits(int(width))
    return str(value).center(int(width))


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    step = 10.0 ** min(int(precision), 9)
    ways: dict[str, Callable[[float], int]] = {
        "common": round,
        "ceil": math.ceil,
        "floor": math.floor,
    }
    return ways[method](float(value) * step) / step


def _sum(value: Iterable[Any], attribute: str | None = None, start: int = 0) -> Any:
    if attribute is not None:
        refuse("it adds up an attribute, which no chat template needs")
    return sum((n for n in value if isinstance(n, int | float)), start)


def _to_json(
    value: Any,
    indent: int | None = None,
    ensure_ascii: bool = False,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As Hugging Face's template renderer does it: characters as they are, nothing escaped."""
    fits(sum(map(len, separators or ())), 8)
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent and min(int(indent), 8),
        separators=separators,
        sort_keys=sort_keys,
        default=_json_of_nothing,
    )


def _json_of_nothing(value: object) -> list[object]:
    if not isinstance(value, Nothing):
        refuse(f"it writes a {type(value).__name__} as JSON")
    return []


FILTERS: dict[str, Callable[..., Any]] = {
    "batch": _batch,
    "center": _center,
    "format": lambda text, *values: percent(str(text), values),
    "indent": _indent,
    "join": join,
    "replace": replace,
    "round": _round,
    "safe": str,
    "sum": _sum,
    "tojson": _to_json,
}
"""Instead of Jinja2's own."""
