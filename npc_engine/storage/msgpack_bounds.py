"""How much memory a msgpack object would take, known before it is built.

Owns the walk over the bytes and the reckoning. It knows no files and no meaning. A few bytes can
ask for a list of four billion items or a million maps: whoever reads strangers' files asks here
first. (Format: the msgpack specification.)
"""

from codecs import getincrementaldecoder

__all__ = [
    "CUT_SHORT",
    "MAX_DEPTH",
    "NEST_COST",
    "WIDE",
    "measure",
    "n_values",
    "open_object",
    "text_cost",
]

MAX_DEPTH = 128
ITEM_COST = 100  # bytes for each object, text aside; a map of one pair is three objects
NEST_COST = 160  # for a map or an array: the reader may make a copy of it
WIDE = 4  # a character beyond the basic plane makes a text take four bytes for every character
PIECE = 1 << 16  # bytes that are looked at together
CUT_SHORT = "it is cut short"


def _leads() -> dict[int, tuple[str, int, int]]:
    """Return lead byte -> (kind, width of the count that follows, count where there is none).

    Extension types (0xc7-0xc9, 0xd4-0xd8) and the unused 0xc1 are missing on purpose.
    """
    plain = (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3)
    table = dict.fromkeys(plain, ("scalar", 0, 0))
    for first, n_leads, kind in ((0x80, 16, "map"), (0x90, 16, "array"), (0xA0, 32, "str")):
        table |= {first + n: (kind, 0, n) for n in range(n_leads)}
    numbers = ((0xCA, (4, 8)), (0xCC, (1, 2, 4, 8)), (0xD0, (1, 2, 4, 8)))
    for first, sizes in numbers:
        table |= {first + i: ("scalar", 0, size) for i, size in enumerate(sizes)}
    counted = ((0xC4, "bin", (1, 2, 4)), (0xD9, "str", (1, 2, 4)))
    for first, kind, widths in (*counted, (0xDC, "array", (2, 4)), (0xDE, "map", (2, 4))):
        table |= {first + i: (kind, width, 0) for i, width in enumerate(widths)}
    return table


_LEADS = _leads()


def _steps() -> list[tuple[int, int]]:
    """Return for each lead byte how far the next value is, and the width of what adds to it."""
    steps = [(1, 0)] * 256  # 0xc1
    for lead, (kind, width, n) in _LEADS.items():
        is_nest = kind in ("array", "map")
        steps[lead] = (1 + width + (0 if is_nest else n), 0 if is_nest else width)
    steps[0xC7:0xCA] = [(2 + width, width) for width in (1, 2, 4)]  # extension types
    steps[0xD4:0xD9] = [(2 + size, 0) for size in (1, 2, 4, 8, 16)]
    return steps


_STEPS = _steps()


def n_values(data: bytes, most: int) -> int:
    """Return how many values there are in msgpack bytes, keys among them; no more than most + 1.

    It checks nothing, and so takes a tenth of the time that `measure` takes.
    """
    n = at = 0
    while at < len(data) and n <= most:
        step, width = _STEPS[data[at]]
        at += step + (int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else 0)
        n += 1
    return n


def open_object(data: bytes, at: int) -> tuple[str, int, int]:
    """Return (kind, n, start) of the object whose lead byte is at `at`.

    `kind` is scalar, str, bin, array or map; n counts the bytes, items or pairs that should follow
    from `start` on (they may be missing). Raises ValueError for what is no such object.
    """
    if at >= len(data):
        raise ValueError(CUT_SHORT)
    if data[at] not in _LEADS:
        raise ValueError(f"the byte {data[at]:#04x} begins nothing")
    kind, width, n = _LEADS[data[at]]
    start = at + 1 + width
    return kind, int.from_bytes(data[at + 1 : start], "big") if width else n, start


def measure(data: bytes, at: int, max_cost: int) -> int:
    """Return where the msgpack object that begins at `at` ends; builds nothing.

    Raises ValueError where it is cut short, nested deeper than MAX_DEPTH, has a key that is no
    text, a text that is no UTF-8 or an extension type, or might take more than `max_cost` bytes as
    Python objects. So what it lets through can be built: no reader's own error is met behind it.
    """
    cost = 0
    to_come = [1]  # objects still to come at each level; a map's are its keys and its values
    in_map = [False]
    while to_come:
        if not to_come[-1]:
            to_come.pop()
            in_map.pop()
            continue
        is_key = in_map[-1] and to_come[-1] % 2 == 0
        to_come[-1] -= 1
        kind, n, at = open_object(data, at)
        if is_key and kind != "str":
            raise ValueError("a key of a map is no text")
        if kind in ("array", "map"):
            to_come.append(n if kind == "array" else 2 * n)
            in_map.append(kind == "map")
            cost += NEST_COST
        else:
            _check_whole(data, at + n)
            wide = kind == "str" and _is_wide(data, at, at + n)
            cost += ITEM_COST + (WIDE * n if wide else n)
            at += n
        _check_whole(data, at)
        _check(len(to_come), cost, max_cost)
    return at


def text_cost(text: str) -> int:
    """Return what `measure` would reckon for a text."""
    return ITEM_COST + (len(text) if text.isascii() else WIDE * len(text.encode()))


def _is_wide(data: bytes, first: int, end: int) -> bool:
    """Whether the text data[first:end] is more than ASCII; raises ValueError if it is no UTF-8.

    No more than a piece of it is copied at a time.
    """
    decoder = None
    for at in range(first, end, PIECE):
        piece = data[at : min(at + PIECE, end)]
        if decoder is None and piece.isascii():
            continue
        decoder = decoder or getincrementaldecoder("utf-8")()
        try:
            decoder.decode(piece, final=at + PIECE >= end)
        except UnicodeDecodeError:
            raise ValueError("a text in it is no UTF-8") from None
    return decoder is not None


def _check_whole(data: bytes, end: int) -> None:
    if end > len(data):
        raise ValueError(CUT_SHORT)


def _check(depth: int, cost: int, max_cost: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if cost > max_cost:
        raise ValueError(f"it would take more than {max_cost} bytes of memory")
