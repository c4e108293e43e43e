"""A running engine as a picture in text: who speaks, who waits, speeds, memory, windows.

Owns the head, the table, and what is left out of a long one. It knows samples, and neither an
engine nor a terminal.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from npc_engine.cli.top.sample import DOING, Rates, Sample, doing, in_order, memory, number
from npc_engine.cli.window_bars import FANCY, Glyphs, Row
from npc_engine.cli.window_picture import MIN_WIDTH, cut, n_columns
from npc_engine.protocol import NpcInfo
from npc_engine.text.visible import on_one_row

__all__ = ["draw"]

MIB = 1 << 20
LABEL = 9
NAME = 16
WIDE = 64  # columns from which on there is room for everything
LEAST_ROWS = 3  # of characters, however small the screen is


def draw(
    sample: Sample,
    rates: Rates,
    width: int = 80,
    *,
    height: int | None = None,
    glyphs: Glyphs = FANCY,
    problem: str = "",
) -> list[Row]:
    """Return the picture as rows of at most `width` columns (taken as MIN_WIDTH at least).

    `height`: most rows in all; characters beyond it are counted in the last one. `problem` is
    something to say above all.
    """
    width = max(width, MIN_WIDTH)
    rows = [[("mark", row)] for row in _wrapped(problem.split(), " ", width)] if problem else []
    rows += _head(sample, rates, width, glyphs)
    npcs = in_order(sample.npcs)
    if not npcs:
        return [*rows, [], [("note", "Nobody is there.")]]
    table = _Table(width, glyphs)
    rows += [[], table.head()]
    room = len(npcs) if height is None else max(LEAST_ROWS, height - len(rows))
    shown = npcs if len(npcs) <= room else npcs[: room - 1]
    rows += map(table.row, shown)
    if len(shown) < len(npcs):
        rest = npcs[len(shown) :]
        rows.append([("note", cut(f"  and {len(rest)} more: {_counts(rest)}", width, glyphs.more))])
    return rows


def _head(sample: Sample, rates: Rates, width: int, glyphs: Glyphs) -> Iterator[Row]:
    stats = sample.stats
    uptime = number(stats, "uptime_s")
    up = f"up {_duration(uptime)}" if uptime is not None else ""
    title = filter(None, (on_one_row(sample.model), sample.endpoint, up))
    yield [("head", cut(glyphs.dot.join(title), width, glyphs.more))]
    for label, facts in (
        ("who", _who(sample)),
        ("speed", _speed(sample, rates)),
        ("waiting", _waiting(sample)),
        ("memory", [f"{_word(part)} {size / MIB:,.0f} MiB" for part, size in memory(stats)]),
    ):
        for i, text in enumerate(_wrapped(facts, glyphs.dot, width - LABEL)):
            yield [("note", ("" if i else label).ljust(LABEL)), ("", text)]


def _who(sample: Sample) -> list[str]:
    n_resident = sum(npc.state == "resident" for npc in sample.npcs)
    slots = f"{n_resident} of {sample.n_slots} slots" if sample.n_slots else ""
    return [*filter(None, (slots, _counts(sample.npcs)))]


def _counts(npcs: Sequence[NpcInfo]) -> str:
    counts = Counter(map(doing, npcs))
    return ", ".join(
        f"{counts[what]} {_many(what, counts[what])}" for what in DOING if counts[what]
    )


def _many(what: str, n: int) -> str:
    return what.removesuffix("s") if n != 1 and what in ("speaks", "reads", "waits") else what


def _speed(sample: Sample, rates: Rates) -> list[str]:
    step_ms, n_threads = number(sample.stats, "step_ms"), number(sample.stats, "n_threads")
    facts = [
        f"speaking {_rate(rates.decode_tps)}",
        f"reading {_rate(rates.prefill_tps)}",
        f"step {step_ms:.1f} ms" if step_ms else "",
        f"{n_threads:g} thread{'s' * (n_threads != 1)}" if n_threads else "",
    ]
    return [*filter(None, facts)]


def _rate(tps: float | None) -> str:
    return "?" if tps is None else f"{tps:,.0f} tok/s"


def _waiting(sample: Sample) -> list[str]:
    found = []
    for name, one, more in (
        ("n_waiting_says", "line", "lines"),
        ("n_waiting_events", "event", "events"),
        ("n_pending_tokens", "token to read", "tokens to read"),
    ):
        n = number(sample.stats, name)
        if n is not None:
            found.append(f"{n:,.0f} {one if n == 1 else more}")
    return found


class _Table:
    """One row for each character; in a narrow one only what matters most."""

    def __init__(self, width: int, glyphs: Glyphs) -> None:
        self.width = width
        self.glyphs = glyphs
        self.is_wide = width >= WIDE

    def head(self) -> Row:
        """Name the columns."""
        facts = f"{'for':9}{'queue':>5}  " if self.is_wide else ""
        return [("note", f"  {'name':{NAME}} {'does':9}{facts}window")]

    def row(self, npc: NpcInfo) -> Row:
        """Return one character: who, what, for whom, how much waits, how full it is."""
        what = doing(npc)
        name = cut(on_one_row(npc.name) or npc.npc, NAME, self.glyphs.more)
        facts = f"{what:9}"
        if self.is_wide:
            queue = "?" if npc.n_waiting is None else str(npc.n_waiting or "")
            facts += f"{(npc.priority or '')[:8]:9}{queue:>5}  "
        style = "speaks" if what == "reads" else what
        head = f"{self.glyphs.answer.strip() if what == 'speaks' else '':2}"
        fill = f" {npc.n_tokens:,}/{npc.n_window:,}"
        room = self.width - n_columns(head) - NAME - 1 - len(facts) - len(fill)
        if room < 0:
            fill = f" {npc.n_tokens / max(npc.n_window, 1):.0%}"
        bar = self._bar(npc, min(room, 40)) if room > 3 else []
        padded = name + " " * (NAME - n_columns(name))
        return [(style, f"{head}{padded} {facts}"), *bar, ("note", fill if bar else fill.strip())]

    def _bar(self, npc: NpcInfo, n: int) -> Row:
        """The window to scale: the pinned part, the rest, what is not read yet, what is free."""
        scale = n / max(npc.n_window, 1)
        used = min(n, round(npc.n_tokens * scale))
        pinned = min(used, round(npc.n_pinned * scale))
        unread = min(used - pinned, round((npc.n_pending or 0) * scale))
        g = self.glyphs
        parts = (
            ("persona", g.persona * pinned),
            ("even", g.even * (used - pinned - unread)),
            ("open", g.pending * unread),
            ("free", g.free * (n - used)),
        )
        return [part for part in parts if part[1]]


def _wrapped(words: Sequence[str], dot: str, width: int) -> list[str]:
    """Return words as rows of at most `width` columns, parted by `dot`; a long word is cut."""
    rows: list[str] = []
    for word in words:
        if rows and n_columns(rows[-1] + dot + word) <= width:
            rows[-1] += dot + word
        else:
            rows.append(cut(word, width, ""))
    return rows


def _duration(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}"


def _word(part: str) -> str:
    return {"kv": "KV"}.get(part, part.replace("_", " "))
