"""The report of `bench crowd`: JSON, tables and Markdown of the same numbers.

Owns how they are told; `plot` draws them. It measures and judges nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from npc_engine.bench.crowd.figures import (
    AUTO,
    N_SHARED_PAST,
    Measured,
    judge,
    of_fairness,
    of_idle,
    of_parking,
    of_sharing,
    of_speakers,
)
from npc_engine.llama.machine import library
from npc_engine.llama.measurements import cpu_name
from npc_engine.text.tables import table
from npc_engine.version import __version__

__all__ = ["as_json", "as_markdown", "as_tables", "passed", "verdicts"]

MIB = 1 << 20
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


def as_json(facts: Mapping[str, Any], found: Measured) -> dict[str, Any]:
    """Return the whole report, in plain JSON types."""
    build = library()
    whole = {
        "benchmark": "crowd",
        "version": __version__,
        "llama_cpp_python": build["llama_cpp_python"],
        "cpu": cpu_name(),
        "features": build["features"],
        **facts,
        "interrupted": found.interrupted,
        "speakers": [of_speakers(n, rounds) for n, rounds in sorted(found.rounds.items())],
        "fair": of_fairness(found.tokens),
        "parking": of_parking(found.parking),
        "governor": [of_sharing(sharing) for sharing in found.sharing],
        "idle": of_idle(found.idle),
    }
    return whole | {"verdicts": judge(whole)}


def passed(whole: Mapping[str, Any]) -> bool:
    """Whether no verdict is against it; one that was cut off has not passed."""
    return not whole["interrupted"] and False not in whole["verdicts"].values()


def verdicts(whole: Mapping[str, Any]) -> str:
    """Return what passed and what did not, on one line."""
    names = {True: "passed", False: "FAILED", None: "not measured"}
    told = ", ".join(f"{what}: {names[value]}" for what, value in whole["verdicts"].items())
    return told + (" (interrupted)\n" if whole["interrupted"] else "\n")


def as_tables(whole: Mapping[str, Any]) -> str:
    """Return the numbers as aligned text."""
    return "\n".join(table(rows) for _, rows in _tables(whole))


def as_markdown(whole: Mapping[str, Any], picture: str) -> str:
    """Return a page of documentation; `picture` is the plot's file, "" for none."""
    parts = [_preface(whole)]
    for title, rows in _tables(whole):
        marks = "|" + "---|" + "---:|" * (len(rows[0]) - 1)
        table = ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join([f"## {title}", "", table[0], marks, *table[1:]]))
        parts.append(_ABOUT[title])
    parts.append("**Verdicts.** " + verdicts(whole).strip() + ".")
    if picture:
        parts.append(f"![The same as a plot]({picture})")
    return "\n\n".join(parts) + "\n"


_MANY, _WAITING, _FAIR, _PARKED, _RAM, _SHARED, _IDLE = (
    "Many speak at once",
    "The first token, all asked at once",
    "Is it fair?",
    "More characters than slots",
    "Memory",
    "Threads, beside a busy game",
    "An idle server",
)
_ABOUT = {
    _MANY: "`step ms`, `tok/s`: a step of the engine in which everybody speaks. `bare`: tok/s of a "
    "loop of llama_decode and sampling on the same context, and nothing else; `defaults`: the same "
    "with a unified cache in f16 and flash attention. `of`: the engine's speed against theirs, the "
    "median of the rounds' ratios. `overhead`: the engine's step less the bare one; `Python`: what "
    "a step takes beside decoding and sampling. `served`: tok/s from the asking on, reading "
    "included; `one by one`: the same where each character is served after the other.",
    _WAITING: "From the asking to the first token, medians of the rounds: the first who answers, "
    "the median and the last.",
    _FAIR: "Tokens that each has said while all chattered, asked again as soon as they were done.",
    _PARKED: "In milliseconds.",
    _RAM: "`rss`: of the whole process.",
    _SHARED: "Tokens per second by number of threads, all rounds together, behind "
    f"{N_SHARED_PAST} tokens of past; the busy processes spin. `auto` chooses by itself; "
    "`of best`: its speed against the best fixed count. `ends at`: the threads that it had chosen "
    "at last; `switches`: how often it had changed in all.",
    _IDLE: "Processor time of a server of its own, all its threads together, while nobody speaks. "
    "`before`: the same from its start until it had read what there was to read. `CPU` is of one "
    "core.",
}

Table = tuple[str, list[Sequence[str]]]


def _tables(whole: Mapping[str, Any]) -> list[Table]:
    tables: list[Table] = []
    if rows := whole["speakers"]:
        tables.append((_MANY, [SPEAKERS, *map(_speed, rows)]))
        tables.append((_WAITING, [WAITS, *map(_wait, rows)]))
    if fair := whole["fair"]:
        numbers = (str(fair[key]) for key in ("n_speakers", "least", "most"))
        head = ("speakers", "least", "most", "least/most")
        tables.append((_FAIR, [head, (*numbers, f"{fair['share']:.2f}")]))
    if parking := whole["parking"]:
        tables.append((_PARKED, _parked(parking)))
        ram = [(_part(name), f"{n / MIB:,.0f}") for name, n in parking["ram"].items()]
        tables.append((_RAM, [("part", "MiB"), *ram]))
    if rows := whole["governor"]:
        tables.append((_SHARED, _shared(rows)))
    if idle := whole["idle"]:
        tables.append((_IDLE, _idle(idle)))
    return tables


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


def _shared(rows: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
    ways = list(rows[0]["tps"])
    head = ["speakers", "busy", *(w if w == AUTO else f"{w} thr." for w in ways)]
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


def _preface(whole: Mapping[str, Any]) -> str:
    threads = "1 thread" if whole["n_threads"] == 1 else f"{whole['n_threads']} threads"
    return (
        f"# A crowd: {whole['model']}\n\n    {whole['command']}\n\n"
        f"NPC Engine {whole['version']}, llama-cpp-python {whole['llama_cpp_python']}, "
        f"{whole['cpu']} ({', '.join(whole['features'])}), {threads}. KV cache: {whole['layout']}; "
        f"each speaker has {whole['depth']} tokens of past."
    )
