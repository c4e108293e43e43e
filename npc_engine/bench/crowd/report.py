"""The report of `bench crowd`: JSON, tables, Markdown and plot of the same numbers.

Owns how they are shown. It measures and judges nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from npc_engine.bench.crowd import figures
from npc_engine.bench.shared import report
from npc_engine.bench.shared.figures import MIB

__all__ = ["as_json", "as_markdown", "as_text", "figure", "has_figure"]

SPEAKERS = (
    *("speakers", "step ms", "tok/s", "bare", "of bare", "defaults", "of defaults"),
    *("overhead ms", "Python ms", "served", "one by one"),
)
WAITS = (
    *("speakers", "best ms", "median ms", "worst ms", "worst/median"),
    *("one by one: best", "median", "worst"),
)
PARKING = {
    "park": "park: copy out",
    "call_in": "call in: copy in",
    "swap": "both, with all that belongs to it",
    "reread": "read again instead",
    "first_parked": "first token of one who was parked",
    "first_resident": "first token of one who was not",
}
WAYS = {
    "engine": "NPC Engine",
    "bare": "bare loop",
    "defaults": "bare loop, llama.cpp's defaults",
    "serial": "one by one",
}
_MANY = (
    "Many speak at once",
    "`step ms`, `tok/s`: a step of the engine in which everybody speaks. `bare`: tok/s of a "
    "loop of llama_decode and sampling on the same context, and nothing else; `defaults`: the same "
    "with a unified cache in f16 and flash attention. `of`: the engine's speed against theirs, the "
    "median of the rounds' ratios. `overhead`: the engine's step less the bare one; `Python`: what "
    "a step takes beside decoding and sampling. `served`: tok/s from the asking on, reading "
    "included; `one by one`: the same where each character is served after the other.",
)
_WAITING = (
    "The first token, all asked at once",
    "From the asking to the first token, medians of the rounds: the first who answers, "
    "the median and the last.",
)
_FAIR = (
    "Is it fair?",
    "Tokens that each has said while all chattered, asked again as soon as they were done.",
)
_PARKED = ("More characters than slots", "In milliseconds.")
_RAM = ("Memory", "`rss`: of the whole process.")
_SHARED = (
    "Threads, beside a busy game",
    "Tokens per second by number of threads, all rounds together, behind "
    f"{figures.N_SHARED_PAST} tokens of past; the busy processes spin. `auto` chooses by itself; "
    "`of best`: its speed against the best fixed count. `ends at`: the threads that it had chosen "
    "at last; `switches`: how often it had changed in all.",
)
_IDLE = (
    "An idle server",
    "Processor time of a server of its own, all its threads together, while nobody speaks. "
    "`before`: the same from its start until it had read what there was to read. `CPU` is of one "
    "core.",
)

Rows = Sequence[Mapping[str, Any]]


def as_json(facts: Mapping[str, Any], found: figures.Measured) -> dict[str, Any]:
    """Return the whole report, in plain JSON types."""
    whole = {
        **report.about_run("crowd"),
        **facts,
        "interrupted": found.interrupted,
        "speakers": [figures.of_speakers(n, rounds) for n, rounds in sorted(found.rounds.items())],
        "fair": figures.of_fairness(found.tokens),
        "parking": figures.of_parking(found.parking),
        "governor": [figures.of_sharing(sharing) for sharing in found.sharing],
        "idle": figures.of_idle(found.idle),
    }
    return whole | {"verdicts": figures.judge(whole)}


def as_text(whole: Mapping[str, Any]) -> str:
    """Return the numbers as aligned text, and the verdicts."""
    return report.as_tables([*_tables(whole)]) + "\n" + report.verdicts(whole)


def as_markdown(whole: Mapping[str, Any]) -> str:
    """Return a page of documentation."""
    setup = f"KV cache: {whole['layout']}; each speaker has {whole['depth']} tokens of past."
    return report.as_page(report.preface("A crowd", whole) + setup, [*_tables(whole)], whole)


def _tables(whole: Mapping[str, Any]) -> Iterator[report.Table]:
    if rows := whole["speakers"]:
        yield report.Table(*_MANY, [SPEAKERS, *map(_speed, rows)])
        yield report.Table(*_WAITING, [WAITS, *map(_wait, rows)])
    if fair := whole["fair"]:
        numbers = (str(fair[key]) for key in ("n_speakers", "least", "most"))
        head = ("speakers", "least", "most", "least/most")
        yield report.Table(*_FAIR, [head, (*numbers, f"{fair['share']:.2f}")])
    if parking := whole["parking"]:
        yield report.Table(*_PARKED, _parked(parking))
        ram = [(_part(name), f"{n / MIB:,.0f}") for name, n in parking["ram"].items()]
        yield report.Table(*_RAM, [("part", "MiB"), *ram])
    if rows := whole["governor"]:
        yield report.Table(*_SHARED, _shared(rows))
    if idle := whole["idle"]:
        yield report.Table(*_IDLE, _idle(idle))


def _speed(row: Mapping[str, Any]) -> Sequence[str]:
    tps, of, served = row["decode_tps"], row["of"], row["served_tps"]
    return (
        str(row["n_speakers"]),
        f"{row['step_ms']['engine']:.1f}",
        _number(tps["engine"]),
        _number(tps.get("bare")),
        _number(of.get("bare"), ".1%"),
        _number(tps.get("defaults")),
        _number(of.get("defaults"), ".2f"),
        f"{row['overhead_ms']:.2f}",
        f"{row['python_ms']:.2f}",
        _number(served["engine"]),
        _number(served["serial"]),
    )


def _wait(row: Mapping[str, Any]) -> Sequence[str]:
    ours, serial = row["first_ms"]["engine"], row["first_ms"]["serial"]
    numbers = [f"{wait[which]:.0f}" for wait in (ours, serial) for which in wait]
    return (str(row["n_speakers"]), *numbers[:3], f"{row['wait']:.2f}", *numbers[3:])


def _parked(parking: Mapping[str, Any]) -> list[Sequence[str]]:
    what = (
        f"{parking['n_characters']} characters of {parking['n_tokens']} tokens, "
        f"{parking['n_slots']} slots"
    )
    rows: list[Sequence[str]] = [(what, "median", "p95", "longest", "times")]
    for kind, name in PARKING.items():
        if (ms := parking["ms"][kind]) is not None:
            rows.append((name, *(f"{ms[k]:.1f}" for k in ("median", "p95", "max")), str(ms["n"])))
    if parking["of_reread"] is not None:
        rows.append(
            ("to read again takes, of calling in", f"{parking['of_reread']:.0f} x", "", "", "")
        )
    return rows


def _shared(rows: Rows) -> list[Sequence[str]]:
    ways = list(rows[0]["tps"])
    head = ["speakers", "busy", *(w if w == figures.AUTO else f"{w} thr." for w in ways)]
    table: list[Sequence[str]] = [[*head, "of best", "ends at", "switches"]]
    for row in rows:
        tps = (f"{row['tps'][way]:.1f}" for way in ways)
        counts = (str(row["n_threads"]), str(row["n_thread_switches"]))
        busy = (str(row["n_speakers"]), str(row["n_busy"]))
        table.append([*busy, *tps, f"{row['of_best']:.1%}", *counts])
    return table


def _idle(idle: Mapping[str, Any]) -> list[Sequence[str]]:
    return [
        ("characters", "CPU s before", "seconds", "CPU ms", "CPU"),
        (
            str(idle["n_characters"]),
            f"{idle['before_s']:.1f}",
            f"{idle['seconds']:.0f}",
            f"{idle['cpu_s'] * 1000:.0f}",
            f"{idle['share']:.2%}",
        ),
    ]


def _part(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _number(value: float | None, form: str = ".0f") -> str:
    return "-" if value is None else format(value, form)


def has_figure(whole: Mapping[str, Any]) -> bool:
    """Whether anything was measured that can be drawn."""
    return bool(whole["speakers"] or whole["governor"])


def figure(whole: Mapping[str, Any]) -> Any:
    """Return the plot; of nothing measured it is one empty panel."""
    speakers, shared = whole["speakers"], whole["governor"]
    n_panels = 2 * bool(speakers) + bool(shared)
    made, panels = report.new_figure(max(1, n_panels), f"A crowd: {whole['model']}")
    if speakers:
        _draw_speed(panels[0], speakers)
        _draw_waits(panels[1], speakers)
    if shared:
        _draw_threads(panels[-1], shared)
    return made


def _draw_speed(ax: Any, rows: Rows) -> None:
    """Tokens per second, by number of speakers."""
    counts = [row["n_speakers"] for row in rows]
    for way in ("bare", "engine", "defaults"):
        if all(way in row["decode_tps"] for row in rows):
            ax.plot(counts, [row["decode_tps"][way] for row in rows], "o-", label=WAYS[way])
    for way in ("engine", "serial"):
        served = [row["served_tps"][way] for row in rows]
        ax.plot(counts, served, "o--", label=f"{WAYS[way]}, with what they read")
    ax.set_ylabel("tokens per second, all together")
    ax.set_ylim(bottom=0)
    _by_speakers(ax, counts)


def _draw_waits(ax: Any, rows: Rows) -> None:
    """First tokens, by number of speakers."""
    counts = [row["n_speakers"] for row in rows]
    for way, which in (("engine", "median"), ("engine", "worst"), ("serial", "worst")):
        label = f"{WAYS[way]}: {'the last' if which == 'worst' else which}"
        ax.plot(counts, [row["first_ms"][way][which] for row in rows], "o-", label=label)
    report.log_axis(ax, "first token, ms")
    _by_speakers(ax, counts)


def _by_speakers(ax: Any, counts: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(counts, map(str, counts))
    ax.set_xlabel("speakers, all asked at once")
    ax.legend(fontsize="small")


def _draw_threads(ax: Any, rows: Rows) -> None:
    """Every fixed count of threads as a line, auto as a dashed level of the same colour."""
    fixed = [way for way in rows[0]["tps"] if way != figures.AUTO]
    for row in rows:
        who = "1 speaker" if row["n_speakers"] == 1 else f"{row['n_speakers']} speakers"
        game = f"{row['n_busy']} busy processes" if row["n_busy"] else "quiet"
        tps = [row["tps"][way] for way in fixed]
        (line,) = ax.plot([*map(int, fixed)], tps, "o-", label=f"{who}, {game}")
        ax.axhline(row["tps"][figures.AUTO], color=line.get_color(), ls="--")
    ax.plot([], [], "k--", label="auto")
    ax.set_xticks([*map(int, fixed)])
    ax.set_xlabel("threads, a fixed count")
    ax.set_ylabel("tokens per second, all together")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize="small")
